# SPDX-License-Identifier: Apache-2.0
"""When a node's process ends: not in the middle of what the robot needs it for.

A node is asked to end by SIGINT, SIGTERM or SIGHUP, or by the end of its launcher (launcher_watch.py). The gate then
brings the robot to rest first, and a simulated robot stays until the gate has gone, so all may be asked at the same
moment. The other nodes end at once. A second SIGINT or SIGTERM ends any node at once; so does the first where
`METARL_END_AT_ONCE` is set, as demos, benchmarks and tests of simulated robots do.
"""

from __future__ import annotations

import os
import signal
from time import monotonic
from types import FrameType
from typing import Protocol

from metarl_robot.ros_nodes.launcher_watch import AT_ONCE, watch_launcher

REST_WITHIN_S = 90.0
"""The gate ends so long after it was asked to, whether the robot stands or not: a drone's `descent_time_s` and a
margin.
"""
_SAME_REQUEST_S = 0.5  # a terminal and a launcher may both send the signal of one Ctrl-C


class Closing(Protocol):
    """A node that can be asked to end."""

    def prepare_end(self, why: str) -> None: ...

    def may_end(self, waited_s: float) -> bool: ...


class Ending:
    """Whether a process was asked to end. why: by what; empty before."""

    def __init__(self) -> None:
        self.why = ""
        self._asked_s = 0.0
        self._prepared = False
        self._at_once = bool(os.environ.get(AT_ONCE))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup(1) leaves it
            signal.signal(signal.SIGHUP, self._on_signal)
        watch_launcher(self._on_launcher_gone)

    def due(self, node: Closing) -> bool:
        """Whether the node is to be closed now."""
        if not self.why:
            return False
        waited_s = monotonic() - self._asked_s
        if not (self._prepared or self._at_once):
            self._prepared = True
            node.prepare_end(self.why)
        return self._at_once or node.may_end(waited_s)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        repeated = self.why != "" and monotonic() - self._asked_s > _SAME_REQUEST_S
        if repeated and number != signal.SIGHUP:  # a session that ends sends it more than once
            self._at_once = True
        self._ask(signal.Signals(number).name)

    def _on_launcher_gone(self) -> None:
        self._ask("the launcher is gone")

    def _ask(self, why: str) -> None:
        if not self.why:
            self._asked_s = monotonic()
            self.why = why
