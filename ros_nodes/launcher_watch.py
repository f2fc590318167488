# SPDX-License-Identifier: Apache-2.0
"""A node that was started by a launcher notices when that launcher is gone, however it ended: SIGKILL leaves no time
for a farewell.

The environment variable `METARL_LAUNCHER` names the launcher: a process id, or `parent` for the process that started
the node. `metarl launch` sets its own id; the launch files say `parent`, for `ros2 launch`. A node without it, started
in a shell or by `ros2 run`, is bound to nothing; neither is one whose user says `METARL_LAUNCHER=none`.

A thread waits for the end of that process (pidfd_open(2)), without waking up before. It is the last resort, too: a node
that has not ended `KILL_S` after its launcher is killed, whatever holds it up.
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
from time import sleep

LAUNCHER = "METARL_LAUNCHER"
AT_ONCE = "METARL_END_AT_ONCE"  # see ending.py
KILL_S = 130.0  # longer than any node takes to end in order (ending.py)


def watch_launcher(on_gone: Callable[[], None]) -> None:
    """Call `on_gone`, from a thread, when the launcher that the environment names has ended."""
    launcher = launcher_pid()
    if launcher is not None:
        Thread(target=_wait, args=(launcher, on_gone), name="launcher watch", daemon=True).start()


def launcher_pid() -> int | None:
    """The process that started this node and that it must not outlive; None: bound to nothing."""
    named = os.environ.get(LAUNCHER, "")
    if named == "parent":
        return os.getppid()
    return int(named) if re.fullmatch("[0-9]{1,9}", named) else None


def _wait(launcher: int, on_gone: Callable[[], None]) -> None:
    wait_for_end(launcher)
    _mute()
    on_gone()
    sleep(KILL_S)
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_end(process: int) -> None:
    """Return when a process, not only a child, has ended."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        try:
            waiter = select.poll()
            waiter.register(handle, select.POLLIN)
            waiter.poll()
        finally:
            os.close(handle)


def _mute() -> None:
    """Nobody reads the launcher's pipes any more: output goes nowhere,
    instead of failing in the middle of a callback.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
