# SPDX-License-Identifier: Apache-2.0
"""The effort that acted between two samples: past commands, a learned latency, and a smoothed effort.

Motor strength is learned from the smoothed effort. The command carries feedback noise that is correlated with the
filter's errors; without smoothing, every motor would seem too strong (instrumental variable; Söderström 1983).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.command_history import command_history
from metarl_robot.adaptation.stream.smooth import smooth

Array = NDArray[np.float64]

EFFORT_MEMORY_S = 0.12
"""Smoothing of the effort from which motor strength is learned."""


class Acting(NamedTuple):
    """Effort over one interval. All arrays are overwritten by the next interval.

    mean, std: (nu,) of the effort that acted; std is that of an uncertain latency. smooth: (nu,) smoothed until before
    the interval. past: (2, nu) the two commands before.
    """

    mean: Array
    std: Array
    smooth: Array
    past: Array


class ActingEffort:
    """Past commands. Starts with one command (nu,), assumed to have acted forever.

    period_s: of samples. latency_s: where it is known; None: it is learned. earlier_std: (nu,) standard deviation of
    the command that acts until the first one takes effect; None: 0. own_period_s: see CommandHistory.
    """

    def __init__(
        self,
        effort: Array,
        period_s: float,
        compiled: bool,
        latency_s: float | None = None,
        earlier_std: Array | None = None,
        own_period_s: float | None = None,
    ) -> None:
        self.history = command_history(effort, period_s, latency_s, earlier_std, compiled, own_period_s)
        self._smooth = smooth(effort, EFFORT_MEMORY_S, compiled)

    def over(self, effort: Array, dt: float) -> Acting:
        """The effort that acted over the last dt; `effort` (nu,) was commanded at its start."""
        mean, std = self.history.acting(effort, dt)
        return Acting(mean, std, self._smooth.level, self.history.last_two)

    def update(self, effort: Array, dt: float) -> None:
        """Record a command (nu,) that is held for dt."""
        self.history.update(effort, dt)
        self._smooth.update(effort, dt)

    def forget(self, std: Array | None) -> None:
        """Take the commands so far to be known only within this standard deviation (nu,); None: as they are."""
        if std is not None:
            self.history.forget(std)
