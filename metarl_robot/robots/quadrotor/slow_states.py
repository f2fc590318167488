# SPDX-License-Identifier: Apache-2.0
"""An adapter that follows the rate of the states, and reports slow and late ones: its filter is built for their period.

A filter for the control period learns nothing from longer intervals, which it takes for gaps; its estimate is then its
prior. Below `LEARNS_HZ` a learned context overshoots by tenths of a metre while it settles, so that only the
disturbance observer is used. Below `OBSERVES_HZ` the observer itself is unstable, and only the nominal model is used.
Both limits were measured on an x500.

The filter learns the latency from a state to the effect of its command, up to LONGEST_LATENCY periods. Later odometry
that is stamped on arrival appears as a latency at this limit: the quadrotor oscillates and is lost within a second or
two (100 ms of delay, no IMU).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.last_learned import LastLearned
from metarl_robot.adaptation.stream.command_history import LONGEST_LATENCY
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.control.state_rate import StateRate
from metarl_robot.core.signals import Context, State
from metarl_robot.robots.quadrotor.description import Quadrotor

Array = NDArray[np.float64]

LEARNS_HZ, OBSERVES_HZ = 30.0, 18.0
"""Slowest states from which a context is learned, and from which a disturbance is observed."""

LATE_SHARE = 0.95
"""Share of the longest latency beyond which states are late."""

AdapterAt = Callable[[Quadrotor], Adapter]
"""Builds an adapter for a quadrotor with the control period of its states."""


class Adapters(NamedTuple):
    """The adapters of a controller: its own, down to `slowest_hz`; the observer, down to OBSERVES_HZ; none."""

    own: AdapterAt
    slowest_hz: float
    observer: AdapterAt
    none: AdapterAt

    def at(self, robot: Quadrotor) -> tuple[Adapter, str]:
        """The adapter for a quadrotor's control period, and the reason if it is not `own`, else empty."""
        hz = 1.0 / robot.control_period_s
        if hz >= self.slowest_hz:
            return self.own(robot), ""
        if hz >= OBSERVES_HZ:
            return self.observer(robot), f"learning needs {LEARNS_HZ:g} Hz, so that only a disturbance observer is used"
        return self.none(robot), f"observing disturbances needs {OBSERVES_HZ:g} Hz, so that the nominal model flies"


SLOWEST_HZ = {"none": 0.0, "disturbance_observer": OBSERVES_HZ}
"""Slowest states of the adapters that do not learn; the others' are LEARNS_HZ."""


class AtStateRate(WrappedAdapter[Adapter]):
    """Adapter that follows the rate of the states; other attributes are those of the adapter in use, `inner`."""

    def __init__(self, robot: Quadrotor, adapters: Adapters) -> None:
        self._robot, self._adapters = robot, adapters
        self._own = self.inner = adapters.own(robot)
        self._forget()

    def reset(self) -> None:
        self.inner = self._own
        self.inner.reset()
        self._forget()

    def _forget(self) -> None:
        self._problem = ""
        self._rate, self._time_s = StateRate(self._robot.control_period_s), 0.0
        self._learned = LastLearned(self._own)
        self._rate.changed(0.0)

    def problem(self) -> str:
        """The rate or delay of the states, and its consequence; empty where there is none."""
        return self._problem or self._late()

    def _late(self) -> str:
        """Report of a latency at the limit of the modelled ones, with the remedy."""
        latency_s, longest_s = self.inner.latency_s, LONGEST_LATENCY * self._rate.period_s
        if latency_s is None or latency_s < LATE_SHARE * longest_s:
            return ""
        return (
            f"commands act {1e3 * latency_s:.0f} ms or more after their states, the longest time that is modelled: is "
            "the odometry late? Land, and stamp it when it is measured; with an IMU its delay is compensated"
        )

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self._time_s += dt
        if self._rate.changed(self._time_s):
            self._follow(self._rate.period_s)
        context = self.inner.update(state, effort, dt)
        self._learned.updated(self.inner, context, self._time_s)
        return context

    def _follow(self, period_s: float) -> None:
        if period_s == self._robot.control_period_s:
            adapter, why = self._own, ""
        else:
            adapter, why = self._adapters.at(self._robot.at_period(period_s))
        self.inner = self._learned.passed_to(adapter, self._time_s)
        self._problem = f"states come at {1.0 / period_s:.0f} Hz: {why}; raise the driver's rate" if why else ""
