# SPDX-License-Identifier: Apache-2.0
"""Adapter protocol: states and commands in, context and residual out.

An adapter takes states and the efforts that acted between them. It measures the residual itself, in momentum form:
the measurement errors of consecutive samples are correlated, and only the estimator can account for that.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi
from metarl_robot.core.external_force import ExternalForce
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]


class Adapter(Protocol):
    """Estimates the residual Δ of the nominal dynamics: M v̇ + h = τ + Δ(ξ; z)."""

    def reset(self) -> None:
        """Return to the prior."""
        ...

    def update(self, state: State, effort: Array, dt: float) -> Context:
        """Process one sample.

        Arguments:
            state: measured now.
            effort: (n,) the command that acted since the last update [Nm].
            dt: time since the last update [s].

        Raises:
            SignalError: wrong shape or type; raised by the factory's adapters (guard.py) before anything changes.
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

    def attached_body(self) -> Array:
        """Parameters (k,) of the attached body that `evaluate` leaves to the dynamics (dynamics/momentum_balance.py).

        Zero if `evaluate` includes the attached body; empty if the robot carries none.
        """
        ...

    @property
    def latency_s(self) -> float | None:
        """Time from the stamp of a state to the effect of its command [s]; None without an estimate."""
        ...

    def estimate(self, measured: State) -> State:
        """The adapter's estimate of the present state; `measured` if it has none."""
        ...


def external_of(adapter: Adapter) -> ExternalForce | None:
    """An adapter's estimate of the external force (its property `external`); None without one."""
    found: ExternalForce | None = getattr(adapter, "external", None)
    return found


def skip_start(adapter: Adapter) -> None:
    """Make an adapter use its estimate at once instead of passing to it slowly (FilterTuning.start_s)."""
    skip = getattr(adapter, "skip_start", None)
    if skip is not None:
        skip()


def expect_measured_efforts(adapter: Adapter) -> None:
    """Tell an adapter that efforts are measured, not commanded: their noise has not acted. It begins anew."""
    expect = getattr(adapter, "expect_measured_efforts", None)
    if expect is not None:
        expect()
        adapter.reset()


class TruthfulAdapter(Adapter, Protocol):
    """An adapter that knows the true physics; simulation only."""

    def observe(self, truth: Any) -> None:
        """Pass on the simulation's task `truth`."""
        ...


class NoAdaptation:
    """Residual Δ = 0."""

    def __init__(self, dynamics: Dynamics) -> None:
        self._dynamics = dynamics

    def reset(self) -> None:
        pass

    def update(self, state: State, effort: Array, dt: float) -> Context:
        return EMPTY_CONTEXT

    def evaluate(self, xi: Xi) -> Array:
        return np.zeros(xi.v.shape)

    def jacobian(self, xi: Xi) -> Array:
        return np.zeros((len(xi.v), self._dynamics.dof, 3 * self._dynamics.dof))

    def effort_gain(self) -> Array:
        return np.zeros(self._dynamics.nu)

    def attached_body(self) -> Array:
        return np.zeros(self._dynamics.attached)

    @property
    def latency_s(self) -> float | None:
        return None

    def estimate(self, measured: State) -> State:
        return measured
