# SPDX-License-Identifier: Apache-2.0
"""L1 adaptation, a baseline without learning.

It combines a state predictor, a piecewise-constant adaptation law and a low-pass filter. With M v̇ = B u - h + σ and
the predictor M dv̂/dt = B u - h + σ̂ - a M ṽ, ṽ = v̂ - v, A_s = -a 1, each sample sets the estimate so that the error
would vanish at the next one:

    σ̂_k = -M Φ⁻¹ e^(A_s T) ṽ_k,    Φ = A_s⁻¹ (e^(A_s T) - 1)

A first-order low-pass filter smooths the estimate for the controller (Wu et al., "L1Quad", IEEE Trans. Control Syst.
Technol. 2025, equations 9-12; Hanover et al., "Performance, precision, and payloads", RA-L 2022).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.adapter_spec import AdapterSpec
from metarl_robot.adaptation.features import Xi
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]

PREDICTOR_RAD_S = 10.0
"""Decay rate a of the predictor."""
LONGEST_INTERVAL_S = 0.03
"""The predictor restarts after a longer time without samples."""


class L1Adapter:
    """Adapter with L1 adaptation.

    Arguments:
        dynamics: the nominal model.
        period_s: T.
        bandwidth_rad_s: of the low-pass filter.
    """

    def __init__(self, dynamics: Dynamics, period_s: float, bandwidth_rad_s: float) -> None:
        self._dynamics, self._period_s, self._bandwidth = dynamics, period_s, bandwidth_rad_s
        self.reset()

    def reset(self) -> None:
        self._raw, self._filtered = np.zeros(self._dynamics.dof), np.zeros(self._dynamics.dof)
        self._last: State | None = None
        self._predicted = np.zeros(self._dynamics.dof)

    def update(self, state: State, effort: Array, dt: float) -> Context:
        if self._last is None or dt > LONGEST_INTERVAL_S:
            self._last, self._predicted = state, state.v
            return EMPTY_CONTEXT
        mass, momentum, _ = (x.copy() for x in self._dynamics.momentum(self._last.q, self._last.v))
        after, _, beta = (x.copy() for x in self._dynamics.momentum(state.q, state.v))
        force = self._dynamics.input_map(self._last.q) @ effort + beta + self._raw
        nominal = np.linalg.solve(after, momentum + dt * force) - self._last.v
        self._predicted = self._predicted + nominal - dt * PREDICTOR_RAD_S * (self._predicted - self._last.v)
        error = self._predicted - state.v
        decay = np.exp(-PREDICTOR_RAD_S * max(dt, self._period_s))  # an early sample must not overshoot
        self._raw = -after @ error * decay * PREDICTOR_RAD_S / (1.0 - decay)
        self._filtered = self._filtered + (1.0 - np.exp(-self._bandwidth * dt)) * (self._raw - self._filtered)
        self._last = state
        return EMPTY_CONTEXT

    def evaluate(self, xi: Xi) -> Array:
        return np.tile(self._filtered, (len(xi.v), 1))

    def jacobian(self, xi: Xi) -> Array:
        return np.zeros((len(xi.v), xi.v.shape[1], 3 * xi.v.shape[1]))

    def effort_gain(self) -> Array:
        return np.zeros(self._dynamics.nu)

    def attached_body(self) -> Array:
        return np.zeros(self._dynamics.attached)

    @property
    def latency_s(self) -> float | None:
        return None

    def estimate(self, measured: State) -> State:
        return measured


SPEC = AdapterSpec(
    lambda robot, dynamics, tuning, checkpoint: L1Adapter(
        dynamics, robot.control_period_s, tuning.observer_bandwidth_rad_s
    ),
    controller="l1_mpc",
)
