# SPDX-License-Identifier: Apache-2.0
"""The Adapter protocol: (state, command) stream → context and the residual it implies.

An adapter is handed states and the efforts that acted between them and measures the residual itself, in momentum form:
the measurement errors of consecutive samples are correlated, and only whoever estimates can account for that.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State
from metarl_robot.dynamics.rigid_body import N_INERTIAL

Array = NDArray[np.float64]


class Adapter(Protocol):
    """Estimates what the nominal dynamics misses: M v̇ + h = τ + Δ(ξ; z)."""

    def reset(self) -> None:
        """Back to the prior."""
        ...

    def update(self, state: State, effort: Array, dt: float) -> Context:
        """Take in one sample.

        Arguments:
            state: measured now.
            effort: (n,) the command that acted since the last update [Nm].
            dt: seconds since the last update.

        Raises:
            SignalError: a wrong shape or type (by the factory's adapters: guard.py), before anything has changed.
        """
        ...

    def evaluate(self, xi: Xi) -> Array:
        """Δ (N, n) [Nm] at N knots."""
        ...

    def jacobian(self, xi: Xi) -> Array:
        """∂Δ/∂(q, v, a) (N, n, 3n) at constant effort."""
        ...

    def effort_gain(self) -> Array:
        """ε (nu,): the actuators' strength beyond 1."""
        ...

    def payload(self) -> Array:
        """Inertial parameters (10,) of a payload that `evaluate` leaves to the dynamics, zero where it has everything
        in it.
        """
        ...

    @property
    def latency_s(self) -> float | None:
        """Time from the stamp of a state to the effect of its command, or None if the adapter has no estimate [s]."""
        ...

    def estimate(self, measured: State) -> State:
        """The adapter's estimate of the present state, or `measured` if it has none."""
        ...


class TruthfulAdapter(Adapter, Protocol):
    """An adapter that knows the true physics; simulation only."""

    def observe(self, truth: Any) -> None:
        """`truth`: the simulation's task."""
        ...


class NoAdaptation:
    """Δ = 0. nu: number of actuators, where it is not that of joints."""

    def __init__(self, dof: int, nu: int | None = None) -> None:
        self._dof, self._nu = dof, dof if nu is None else nu

    def reset(self) -> None:
        pass

    def update(self, state: State, effort: Array, dt: float) -> Context:
        return EMPTY_CONTEXT

    def evaluate(self, xi: Xi) -> Array:
        return np.zeros_like(xi.v)

    def jacobian(self, xi: Xi) -> Array:
        return np.zeros((len(xi.v), self._dof, 3 * self._dof))

    def effort_gain(self) -> Array:
        return np.zeros(self._nu)

    def payload(self) -> Array:
        return np.zeros(N_INERTIAL)

    @property
    def latency_s(self) -> float | None:
        return None

    def estimate(self, measured: State) -> State:
        return measured
