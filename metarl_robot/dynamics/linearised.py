# SPDX-License-Identifier: Apache-2.0
"""Linearised dynamics along a plan: the interface between model and solver."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Linearised(NamedTuple):
    """Model δx_{k+1} = A_k δx_k + B_k δu_k + c_k about a plan of N steps, n error coordinates and m inputs.

    by_state, by_input: (N, nnz) non-zeros of A and B, in column order. defects: c (N, n). errors: (N + 1, n) of the
        plan from its target.
    """

    by_state: Array
    by_input: Array
    defects: Array
    errors: Array
