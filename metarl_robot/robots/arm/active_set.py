# SPDX-License-Identifier: Apache-2.0
"""The least change that keeps an arm's plan within its limits, in C (active_set.c).

The method is that of `TrackingQP.constrain`. Its numpy code does the same, slower, without a compiler or where the C
code gives up (more than `MOST_ROWS` limits, a matrix that is not positive definite).
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.kernel import address, kernel
from metarl_robot.robots.arm.linearised_limits import TOLERANCE, LinearisedLimits, Outputs
from metarl_robot.robots.arm.tracking_qp import (
    MAX_ROUNDS,
    SLACK_TOLERANCE,
    SLACK_WEIGHT,
    YIELDING_WEIGHT,
    TrackingQP,
)

Array = NDArray[np.float64]

MOST_ROWS = 96
"""Largest number of limits that the C code handles."""
_FAILED, _MET = 0, 2


class ActiveSet:
    """Solver for the limits of `joints` joints; in_c: use the C code if there is a compiler."""

    def __init__(self, qp: TrackingQP, joints: int, in_c: bool = True) -> None:
        horizon = qp.position_map.shape[1]
        rules = {"SLACK_WEIGHT": SLACK_WEIGHT, "YIELDING_WEIGHT": YIELDING_WEIGHT, "SLACK_TOLERANCE": SLACK_TOLERANCE}
        sizes = {"HORIZON": horizon, "JOINTS": joints, "MOST_ROWS": MOST_ROWS, "MAX_ROUNDS": MAX_ROUNDS}
        library = kernel("robots.arm", "active_set", **sizes, **rules, TOLERANCE=TOLERANCE) if in_c else None
        self._run = (
            None if library is None else ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 7)(("constrain", library))
        )
        self._qp, self._gram, self._motion = qp, qp.gram, np.zeros((3, horizon + 1, joints))

    def constrain(self, outputs: Outputs, by_motion: Array) -> tuple[Array | None, bool]:
        """The change δ (N, n) of the inputs, and whether all limits are met; arguments as for LinearisedLimits."""
        if self._run is not None:
            arrays = [np.ascontiguousarray(array) for array in (by_motion, *outputs)]
            status = self._run(*map(address, (self._gram, *arrays, self._motion)))
            if status != _FAILED:
                return self._motion[2, :-1].copy(), status == _MET
        return self._qp.constrain(LinearisedLimits(self._qp, outputs, by_motion).violated)
