# SPDX-License-Identifier: Apache-2.0
"""Limits the processor time of real-time threads, because a thread at SCHED_FIFO that never waits blocks its core.

The kernel counts the time (RLIMIT_RTTIME, getrlimit(2)). After `LEAVE_S` of processor time without a wait, all
threads of the process continue at the ordinary priority. If that fails, because the thread is stuck outside Python,
the kernel ends the process after `END_S`.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

LEAVE_S = 3
END_S = 15
_US = 1_000_000


def limit_realtime() -> None:
    """Set the limit; call it in the main thread."""
    signal.signal(signal.SIGXCPU, _leave)
    with suppress(OSError, ValueError):  # a lower limit is already in force
        resource.setrlimit(resource.RLIMIT_RTTIME, (LEAVE_S * _US, END_S * _US))


def _leave(number: int, frame: FrameType | None) -> None:
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):
            os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
    print(
        f"error: {LEAVE_S} s at real-time priority without a pause: from now on without that priority",
        file=sys.stderr,
        flush=True,
    )
