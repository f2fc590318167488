# SPDX-License-Identifier: Apache-2.0
"""Orderly end of a node's process, so that the robot does not lose a node that it needs.

SIGINT, SIGTERM, SIGHUP or the end of the launcher (launcher_watch.py) ask a node to end. The gate first brings the
robot to rest, and a simulated robot waits until the gate has ended, so all nodes may be asked at the same time. The
other nodes end at once. A second SIGINT or SIGTERM ends any node at once. With `METARL_END_AT_ONCE`, as set by demos,
benchmarks and tests of simulated robots, the first one does. Compilers that a node waits for are ended.

An alarm of the kernel (alarm(2)) kills a process that was due to end and has not ended `CLOSE_WITHIN_S` later: the
middleware's threads can block each other while it releases a node.
"""

from __future__ import annotations

import os
import signal
from time import monotonic
from types import FrameType
from typing import Protocol

from metarl_robot.compile.compiler_process import stop_compilers
from metarl_robot.ros_nodes.launcher_watch import AT_ONCE, watch_launcher

REST_WITHIN_S = 90.0
"""Longest time that the gate waits for the robot to come to rest: a drone's `descent_time_s` and a margin."""
CLOSE_WITHIN_S = 30  # longest time for completing files and releasing the node
_SAME_REQUEST_S = 0.5  # a terminal and a launcher may both send the signal of one Ctrl-C


class Closing(Protocol):
    """A node that can be asked to end."""

    def prepare_end(self, why: str) -> None: ...

    def may_end(self, waited_s: float) -> bool: ...


class Ending:
    """Whether the process was asked to end. why: the cause; empty before."""

    def __init__(self) -> None:
        self.why = ""
        self._asked_s = 0.0
        self._prepared = False
        self._at_once = bool(os.environ.get(AT_ONCE))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it kills without this process's help
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # set by nohup(1)
            signal.signal(signal.SIGHUP, self._on_signal)
        watch_launcher(self._on_launcher_gone)

    def due(self, node: Closing) -> bool:
        """Whether to close the node now."""
        if not self.why:
            return False
        waited_s = monotonic() - self._asked_s
        if not (self._prepared or self._at_once):
            self._prepared = True
            node.prepare_end(self.why)
        may_end = self._at_once or node.may_end(waited_s)
        if may_end:
            signal.alarm(CLOSE_WITHIN_S)
        return may_end

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        repeated = self.why != "" and monotonic() - self._asked_s > _SAME_REQUEST_S
        if repeated and number != signal.SIGHUP:  # the end of a session sends it more than once
            self._at_once = True
        self._ask(signal.Signals(number).name)

    def _on_launcher_gone(self) -> None:
        self._ask("the launcher is gone")

    def _ask(self, why: str) -> None:
        if not self.why:
            self._asked_s = monotonic()
            self.why = why
            stop_compilers()
