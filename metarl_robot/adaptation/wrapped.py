# SPDX-License-Identifier: Apache-2.0
"""An adapter around another one."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.core.signals import State

Array = NDArray[np.float64]
Inner = TypeVar("Inner", bound=Adapter)


class WrappedAdapter(Generic[Inner]):
    """Base of an adapter around `inner`: attributes that a subclass does not define are those of `inner`."""

    inner: Inner

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet while being copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    def advance(self, state: State, effort: Array, dt: float) -> None:
        """Process one sample, as `update` does, without its context, which costs time where it is not used."""
        self.update(state, effort, dt)

    def evaluate(self, xi: Xi) -> Array:
        return self.inner.evaluate(xi)

    def jacobian(self, xi: Xi) -> Array:
        return self.inner.jacobian(xi)

    def effort_gain(self) -> Array:
        return self.inner.effort_gain()

    def attached_body(self) -> Array:
        return self.inner.attached_body()

    def estimate(self, measured: State) -> State:
        return self.inner.estimate(measured)

    @property
    def latency_s(self) -> float | None:
        return self.inner.latency_s
