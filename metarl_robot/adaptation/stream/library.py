# SPDX-License-Identifier: Apache-2.0
"""The statistics' library in C, and constants that several of them share."""

from __future__ import annotations

import ctypes

from metarl_robot.compile.kernel import Kernel, kernel

POINTER = ctypes.c_void_p

NOISE_MEMORY_S = 0.5
FIRST_SAMPLES = 10
"""Samples for which the initial noise levels count."""
LARGEST = 16.0
"""A sample counts at most as this multiple of the present variance."""


def stream_library(compiled: bool) -> Kernel | None:
    """The library; None without a compiler, or if it is not wanted."""
    return kernel("adaptation", "stream") if compiled else None
