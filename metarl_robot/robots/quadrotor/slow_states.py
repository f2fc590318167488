# SPDX-License-Identifier: Apache-2.0
"""An adapter that follows the rate of the states, and reports slow and late ones: its filter is built for their period.

Below `LEARNS_HZ` a learned context overshoots by tenths of a metre while it settles, so that only the
disturbance observer is used. Below `OBSERVES_HZ` the observer itself is unstable, and only the nominal model is used.
Both limits were measured on an x500.

The filter learns the latency from a state to the effect of its command, up to LONGEST_LATENCY periods. Later odometry
that is stamped on arrival appears as a latency at this limit: the quadrotor oscillates and is lost within a second or
two (100 ms of delay, no IMU).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.stream.command_history import LONGEST_LATENCY
from metarl_robot.control.at_state_rate import AtStateRate
from metarl_robot.robots.quadrotor.description import Quadrotor

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


class FlightAtStateRate(AtStateRate):
    """See the module's docstring; other attributes are those of the adapter in use, `inner`."""

    def __init__(self, robot: Quadrotor, adapters: Adapters) -> None:
        super().__init__(robot, adapters.at)

    def problem(self) -> str:
        """The rate or delay of the states, and its consequence; empty where there is none."""
        return super().problem() or self._late()

    def _late(self) -> str:
        """Report of a latency at the limit of the modelled ones, with the remedy."""
        latency_s, longest_s = self.inner.latency_s, LONGEST_LATENCY * self._rate.period_s
        if latency_s is None or latency_s < LATE_SHARE * longest_s:
            return ""
        return (
            f"commands act {1e3 * latency_s:.0f} ms or more after their states, the longest time that is modelled: is "
            "the odometry late? Land, and stamp it when it is measured; with an IMU its delay is compensated"
        )
