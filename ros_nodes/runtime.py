# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping a node's process.

rclpy from PyPI wheels needs the paths of its libraries in the environment; the wheels' own bootstrapper sees to that
when Python starts, once, and what is started from there inherits it. One executor: rclpy's EventsExecutor through
`spin_once`, which on these machines has half the jitter of the others and a fifth of their load (its `spin` dispatches
nothing in the wheels).

A signal ends the loop between two callbacks (when: ending.py), so that a node always closes in order: files are
completed, the last words are sent, and the middleware has let go of the node before the process ends. (What is left to
the exit handlers of DDS dies there beside its own threads, and now and then takes the process with it.)
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import sleep

import rclpy
from rclpy.executors import Executor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes.ending import Ending
from metarl_robot.ros_nodes.guarded import GuardedNode, described
from metarl_robot.ros_nodes.log_folder import ensure_log_folder
from metarl_robot.ros_nodes.realtime_limit import limit_realtime
from metarl_robot.ros_nodes.unique_name import claim_name

_MCL_CURRENT = 1  # sys/mman.h
_WAKE_S = 0.1  # how often the loop looks whether it shall end
_PAUSE_S = 1e-3  # after an error of rclpy itself: one that comes again and again must not take the processor


def run(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Run one node until a signal or until it gives up. Returns the process's exit code."""
    ending = Ending()
    ensure_log_folder()
    rclpy.init(args=list(sys.argv if args is None else args), signal_handler_options=SignalHandlerOptions.NO)
    try:
        return _live(make_node, ending)
    finally:
        _collect()
        rclpy.try_shutdown()


def _live(make_node: Callable[[], Node], ending: Ending) -> int:
    """From the node's making to its destruction.

    Nothing outlives it, not even an exception, whose traceback would hold the node.
    """
    try:
        node = make_node()
        try:
            with claim_name(node.context.get_domain_id(), node.get_fully_qualified_name()):
                return _spin(node, ending)
        finally:
            node.destroy_node()
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    except Exception as error:
        print(f"error: unforeseen {described(error)}; please report it", file=sys.stderr, flush=True)
        get_logger("runtime").debug(traceback.format_exc())
    return 1


def _spin(node: Node, ending: Ending) -> int:
    executor = _make_executor()
    executor.add_node(node)
    try:
        while not (_is_due(ending, node) or node.failed) and rclpy.ok():
            _spin_once(executor, node)
    finally:
        node.close()
        executor.shutdown()
    return int(node.failed)


def _is_due(ending: Ending, node: GuardedNode) -> bool:
    """Whether the node shall end now; where it cannot say, it goes on until it is asked a second time."""
    try:
        return ending.due(node)
    except Exception as error:
        node.fault("ending", error)
        sleep(_PAUSE_S)
        return False


def _spin_once(executor: Executor, node: GuardedNode) -> None:
    """Callbacks are guarded by the node; an error that still comes here is one of rclpy itself."""
    try:
        executor.spin_once(timeout_sec=_WAKE_S)
    except Exception as error:
        node.fault("rclpy", error)
        sleep(_PAUSE_S)


def _make_executor() -> Executor:
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:  # a ROS 2 without it
        from rclpy.executors import SingleThreadedExecutor

        return SingleThreadedExecutor()
    return EventsExecutor()


def settle_memory() -> None:
    """Everything built so far stays: keep the garbage collector from walking through it in the middle of a control
    step.
    """
    gc.collect()
    gc.freeze()


def _collect() -> None:
    """The node's remains, which refer to each other and hold its entities in the middleware, go."""
    gc.unfreeze()
    gc.collect()


@cache
def keep_processors_awake() -> None:
    """No sleep states, from which processors wake up late and cold, while this process lives; without the right to do
    so, nothing happens.

    An open file holds the longest latency that is tolerated [µs] (Linux, "PM Quality Of Service Interface"); the
    process's end closes it.
    """
    with suppress(OSError):
        os.write(os.open("/dev/cpu_dma_latency", os.O_WRONLY), bytes(4))


def keep_in_memory() -> None:
    """All that this process has mapped is read and stays (mlockall(2)); without the right to that, nothing happens.

    Else code that is seldom needed, such as that for active limits, may have to come from disk in the middle of a
    control step.
    """
    ctypes.CDLL(None).mlockall(_MCL_CURRENT)


def prefer_process(niceness: int, realtime_priority: int) -> None:
    """Give all threads of this process a niceness and, above 0, a real-time priority, processors that stay awake and
    memory that stays.

    Without the right to any of it, it does not happen.

    Real time is SCHED_FIFO: nothing but a higher priority interrupts such a thread. Threads and processes that are
    started later, such as a compiler, do not inherit it.

    Where Linux groups processes by session (sched(7), "The autogroup feature"; the default of most distributions), a
    niceness counts only within the group. A node that is its session's leader, as `metarl launch` starts it, gives it
    to the group as well.
    """
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)
            if realtime_priority > 0:
                policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(realtime_priority))
    if realtime_priority > 0:
        limit_realtime()
        keep_processors_awake()
        keep_in_memory()
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
