# SPDX-License-Identifier: Apache-2.0
"""What was learned is kept when the adapter is exchanged: with the rate of the states, or with the controller.

A computer that is busy for 0.1 s makes states seem slow. Each adapter that was then exchanged began anew: an arm forgot
its payload, and a quadrotor flew 5 times as far off as with a disturbance observer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter, NoAdaptation
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State
from metarl_robot.safety.sample_check import OUTAGE_S

Array = NDArray[np.float64]

LEAST_S = 1.0
"""What was learned in a shorter time is not kept.

Slow states are noticed 3 to 13 samples after a start. A start that went on from those was up to twice as far off.
"""


class KeptModel(WrappedAdapter[Adapter]):
    """Adapter: the residual that `inner` has learned, without learning. context: its last one."""

    def __init__(self, inner: Adapter, context: Context) -> None:
        self.inner, self._context = inner, context

    def reset(self) -> None:
        """Nothing is learned; the model stays."""

    def update(self, state: State, effort: Array, dt: float) -> Context:
        return self._context

    def estimate(self, measured: State) -> State:
        return measured


def continued(adapter: Adapter, earlier: Adapter) -> bool:
    """Let an adapter go on from what another has learned, which is not used any more; returns whether it can."""
    go_on = getattr(type(adapter), "continue_from", None)
    alike = type(earlier) is type(adapter) or isinstance(adapter, MomentumFilter)
    return bool(go_on is not None and alike and hasattr(earlier, "belief") and go_on(adapter, earlier))


class LastLearned:
    """The last adapter that learned. own: the adapter at the robot's own rate; those of its type learn."""

    def __init__(self, own: Adapter) -> None:
        self._last, self._context = own, EMPTY_CONTEXT
        self._forget()

    def _forget(self) -> None:
        self._first_s, self._time_s = np.inf, -np.inf

    def updated(self, adapter: Adapter, context: Context, time_s: float) -> None:
        """An adapter was updated, with this context."""
        if type(adapter) is type(self._last):
            self._last, self._context, self._time_s = adapter, context, time_s
            self._first_s = min(self._first_s, time_s)

    def passed_to(self, adapter: Adapter, time_s: float) -> Adapter:
        """Start the adapter for another rate from what was learned up to OUTAGE_S ago; older is forgotten.

        Returns it; where it does not adapt, the last model instead.
        """
        known = self._time_s >= self._first_s + LEAST_S and time_s <= self._time_s + OUTAGE_S
        if known and isinstance(adapter, NoAdaptation):
            return KeptModel(self._last, self._context)
        if not (known and continued(adapter, self._last)):
            self._forget()
            adapter.reset()
        return adapter
