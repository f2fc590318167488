"""Curves given by an expression of time and parameters: CasADi differentiates them, and they are compiled for the knots of a plan."""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.knots import Knots, compile_knots, in_chunks

Array = NDArray[np.float64]

_CHUNK = 24


class Curve:
    """Outputs (n,) and their derivatives by time, up to the highest wanted, given parameters (P,).

    Not to be called from two threads at once.
    """

    def __init__(self, time: ca.SX, parameters: ca.SX, outputs: ca.SX, highest: int) -> None:
        derivatives = [outputs]
        for _ in range(highest):
            derivatives.append(ca.jacobian(derivatives[-1], time))
        function = ca.Function("curve", [time, parameters], [ca.cse(ca.horzcat(*derivatives).T)])
        self._function = compile_knots({"curve": Knots(function, _CHUNK, shared=(1,))})["curve"]

    def __call__(self, times: Array, parameters: Array) -> Array:
        """(highest + 1, N, n) at times (N,) [s]."""
        (values,) = in_chunks(lambda some: self._function(some, parameters), _CHUNK, times[:, None])
        return values.transpose(1, 0, 2)
