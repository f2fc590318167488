# SPDX-License-Identifier: Apache-2.0
"""An adapter that follows the rate of the states: its filter is built for their period.

A filter for the control period learns nothing from much longer intervals, which it takes for gaps; its estimate is
then its prior.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.last_learned import LastLearned
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.control.state_rate import StateRate
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Context, State

Array = NDArray[np.float64]

AdapterAt = Callable[[Any], tuple[Adapter, str]]
"""The robot at the period of its states → adapter for it, and words if it is less than the controller's own."""


class AtStateRate(WrappedAdapter[Adapter]):
    """Adapter that follows the rate of the states; other attributes are those of the adapter in use, `inner`."""

    def __init__(self, robot: Robot, adapter_at: AdapterAt) -> None:
        self._robot, self._adapter_at = robot, adapter_at
        self._own = self.inner = adapter_at(robot)[0]
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
        """The rate of the states, and its consequence; empty where there is none."""
        return self._problem

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self._time_s += dt
        if self._rate.changed(self._time_s):
            self._follow(self._rate.period_s)
        context = self.inner.update(state, effort, dt)
        self._learned.updated(self.inner, context, self._time_s)
        return context

    def _follow(self, period_s: float) -> None:
        own = period_s == self._robot.control_period_s
        adapter, why = (self._own, "") if own else self._adapter_at(self._robot.at_period(period_s))
        self.inner = self._learned.passed_to(adapter, self._time_s)
        self._problem = f"states come at {1.0 / period_s:.0f} Hz: {why}; raise the driver's rate" if why else ""
