# SPDX-License-Identifier: Apache-2.0
"""Switches off MuJoCo's internal profiler, which reads the clock dozens of times a step for `mjData.timer`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from mujoco import _batch

_time = ctypes.c_void_p.in_dll(ctypes.CDLL(_batch.__file__), "mjcb_time")
_CLOCK = _time.value


def stop_profiling() -> None:
    """Stop profiling in the whole process; only `mjData.timer` changes."""
    _time.value = None


@contextmanager
def profiling() -> Iterator[None]:
    """Enable MuJoCo's profiler in the whole process."""
    _time.value = _CLOCK
    try:
        yield
    finally:
        stop_profiling()
