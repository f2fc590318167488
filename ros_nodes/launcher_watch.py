# SPDX-License-Identifier: Apache-2.0
"""Ends a node after its launcher, also when SIGKILL ended the launcher.

The environment variable `METARL_LAUNCHER` names the launcher: a process id, or `parent` for the process that started
the node. `metarl launch` sets its own id; the launch files set `parent`, for `ros2 launch`. A node without the
variable (started in a shell or by `ros2 run`) or with `METARL_LAUNCHER=none` has no launcher.

A thread waits for the end of that process (pidfd_open(2)) without polling. It also sets an alarm that kills a node that
has not ended `KILL_S` after its launcher.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

LAUNCHER = "METARL_LAUNCHER"
AT_ONCE = "METARL_END_AT_ONCE"  # see ending.py
KILL_S = 130  # longer than any node takes to end in order (ending.py)


def watch_launcher(on_gone: Callable[[], None]) -> None:
    """Call `on_gone` from a thread when the launcher has ended."""
    launcher = launcher_pid()
    if launcher is not None:
        Thread(target=_wait, args=(launcher, on_gone), name="launcher watch", daemon=True).start()


def launcher_pid() -> int | None:
    """Process id of the node's launcher; None without one."""
    named = os.environ.get(LAUNCHER, "")
    if named == "parent":
        return os.getppid()
    return int(named) if re.fullmatch("[0-9]{1,9}", named) else None


def _wait(launcher: int, on_gone: Callable[[], None]) -> None:
    wait_for_end(launcher)
    signal.alarm(KILL_S)
    _mute()
    on_gone()


def wait_for_end(process: int) -> None:
    """Wait for the end of any process, not only of a child."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        try:
            waiter = select.poll()
            waiter.register(handle, select.POLLIN)
            waiter.poll()
        finally:
            os.close(handle)


def _mute() -> None:
    """Send output to /dev/null: writing to the launcher's closed pipes would fail in a callback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
