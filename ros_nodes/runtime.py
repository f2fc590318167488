# SPDX-License-Identifier: Apache-2.0
"""Start and stop of a node's process.

rclpy from PyPI wheels needs the paths of its libraries in the environment. The wheels' bootstrapper sets them once,
when Python starts, and child processes inherit them. One executor: rclpy's EventsExecutor through `spin_once`, which
on these machines has half the jitter of the others and a fifth of their load (its `spin` dispatches nothing in the
wheels).

A signal ends the loop between two callbacks (ending.py), so that a node always closes in order: files are completed,
the last messages are sent, and the middleware releases the node before the process ends. (Entities that are left to
DDS's exit handlers are destroyed while its threads still run, which sometimes crashes the process.)
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from time import monotonic, sleep

import rclpy
from rclpy.duration import Duration
from rclpy.executors import Executor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from metarl_robot.compile.compiler_process import CompilationStopped
from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes.ending import Ending
from metarl_robot.ros_nodes.guarded import GuardedNode, RCLError, described
from metarl_robot.ros_nodes.log_folder import ensure_log_folder
from metarl_robot.ros_nodes.realtime_limit import limit_realtime
from metarl_robot.ros_nodes.shared_memory import remove_unfinished_ports
from metarl_robot.ros_nodes.unique_name import claim_name

HEARD_WITHIN_S = 0.5
"""Longest time that an ending node waits for the acknowledgement of its messages; a killed subscriber sends none."""
_MCL_CURRENT = 1  # sys/mman.h
_WAKE_S = 0.1  # period in which the loop checks whether to end
_PAUSE_S = 1e-3  # after an error of rclpy itself, so that a repeated one does not occupy the processor


def run(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Run one node until a signal or until it gives up. Returns the process's exit code."""
    ending = Ending()
    ensure_log_folder()
    remove_unfinished_ports()
    rclpy.init(args=list(sys.argv if args is None else args), signal_handler_options=SignalHandlerOptions.NO)
    try:
        return _live(make_node, ending)
    finally:
        _collect()
        rclpy.try_shutdown()


def _live(make_node: Callable[[], Node], ending: Ending) -> int:
    """Create, spin and destroy a node.

    Nothing may hold the node afterwards, not even the traceback of an exception.
    """
    try:
        node = make_node()
        try:
            with claim_name(node.context.get_domain_id(), node.get_fully_qualified_name()):
                return spin(node, partial(_is_due, ending, node))
        finally:
            node.destroy_node()
    except CompilationStopped:
        return 0
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    except Exception as error:
        print(f"error: unforeseen {described(error)}; please report it", file=sys.stderr, flush=True)
        get_logger("runtime").debug(traceback.format_exc())
    return 1


def spin(node: Node, due: Callable[[], bool]) -> int:
    """Spin a node in this thread until it is due to end or gives up. Returns the process's exit code."""
    executor = _make_executor()
    executor.add_node(node)
    try:
        while not (due() or node.failed) and rclpy.ok():
            _spin_once(executor, node)
    finally:
        node.close()
        executor.shutdown()
        _wait_until_heard(node)
    return int(node.failed)


def _wait_until_heard(node: Node) -> None:
    """Wait, at most HEARD_WITHIN_S, until reliable subscribers have all messages: the middleware drops the rest."""
    end_s = monotonic() + HEARD_WITHIN_S
    with suppress(RCLError):
        for publisher in node.publishers:
            publisher.wait_for_all_acked(Duration(seconds=max(end_s - monotonic(), 0.0)))


def _is_due(ending: Ending, node: GuardedNode) -> bool:
    """Whether to end the node now; after an error in its answer it continues until it is asked again."""
    try:
        return ending.due(node)
    except Exception as error:
        node.fault("ending", error)
        sleep(_PAUSE_S)
        return False


def _spin_once(executor: Executor, node: GuardedNode) -> None:
    """Spin once; errors of callbacks are handled by the node, others come from rclpy itself."""
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
    """Exclude existing objects from garbage collection, to avoid its pauses in control steps."""
    gc.collect()
    gc.freeze()


def _collect() -> None:
    """Collect the node's objects: their reference cycles hold its entities in the middleware."""
    gc.unfreeze()
    gc.collect()


@cache
def keep_processors_awake() -> None:
    """Disable the processors' sleep states while this process lives, if it has the right to.

    Processors wake up from them late and with cold caches. An open file holds the longest tolerated latency [µs]
    (Linux, "PM Quality Of Service Interface"); it closes with the process.
    """
    with suppress(OSError):
        os.write(os.open("/dev/cpu_dma_latency", os.O_WRONLY), bytes(4))


def keep_in_memory() -> None:
    """Load and lock all mapped memory (mlockall(2)), if this process has the right to.

    Otherwise rarely used code, such as that for active limits, may be read from disk during a control step.
    """
    ctypes.CDLL(None).mlockall(_MCL_CURRENT)


def prefer_process(niceness: int, realtime_priority: int) -> None:
    """Set niceness and, above 0, real-time priority, awake processors and locked memory for all threads.

    Settings that this process has no right to are skipped.

    Real time is SCHED_FIFO: only a higher priority interrupts such a thread. Threads and processes that are started
    later, such as a compiler, do not inherit it.

    If Linux groups processes by session (sched(7), "The autogroup feature"; the default of most distributions), a
    niceness counts only within the group. A node that leads its session, as `metarl launch` starts it, also sets the
    group's niceness.
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
