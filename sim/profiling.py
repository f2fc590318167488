"""MuJoCo's profile of itself, switched off: under Python it reads the clock dozens of times a step, for `mjData.timer`."""

from __future__ import annotations

import ctypes

from mujoco import _batch


def stop_profiling() -> None:
    """In the whole process, from now on; nothing but `mjData.timer` changes."""
    ctypes.c_void_p.in_dll(ctypes.CDLL(_batch.__file__), "mjcb_time").value = None
