# SPDX-License-Identifier: Apache-2.0
"""Compiled trajectories: expressions of time and parameters, with time derivatives by CasADi.

They are compiled for the knots of a plan.
"""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.knots import AnyNumber

Array = NDArray[np.float64]


class CompiledTrajectory:
    """Outputs (n,) and their time derivatives up to order `highest`, for parameters (P,).

    Not to be called from two threads at once.
    """

    def __init__(self, time: ca.SX, parameters: ca.SX, outputs: ca.SX, highest: int) -> None:
        derivatives = [outputs]
        for _ in range(highest):
            derivatives.append(ca.jacobian(derivatives[-1], time))
        self._function = AnyNumber(ca.Function("curve", [time, parameters], [ca.cse(ca.horzcat(*derivatives).T)]))

    def __call__(self, times: Array, parameters: Array) -> Array:
        """Outputs and derivatives (highest + 1, N, n) at times (N,) [s]."""
        (values,) = self._function(times[:, None], parameters)
        return values.transpose(1, 0, 2)
