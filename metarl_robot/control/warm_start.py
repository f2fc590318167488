# SPDX-License-Identifier: Apache-2.0
"""Warm-start shift: the last plan at this step's knots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def shifted_rows(rows: Array, steps: float) -> Array:
    """Shift rows (N, ·) on an even grid by `steps` >= 0 grid steps.

    Linear between the rows; the last row is repeated.
    """
    whole, share = divmod(steps, 1.0)
    later = rows[min(int(whole), len(rows) - 1) :]
    moved, between = np.empty_like(rows), len(later) - 1
    moved[:between] = later[:-1] + share * (later[1:] - later[:-1])
    moved[between:] = rows[-1]
    return moved
