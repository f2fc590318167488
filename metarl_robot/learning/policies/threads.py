# SPDX-License-Identifier: Apache-2.0
"""Processor threads of torch and numpy, and denormal numbers: the same results on machines with any number of cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Compute with so many threads within the block, and take denormal numbers as zero."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(count)
    with threadpool_limits(count, "blas"):
        yield
