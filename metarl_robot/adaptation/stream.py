"""What a filter learns from the stream of samples itself: how noisy it is, its smooth part, which command acted, whether it is white."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Array = NDArray[np.float64]

NOISE_MEMORY_S = 0.5
NOISE_VARIANCE_RANGE = (1e-3**2, 0.2**2)
"""(rad/s)². The lower end covers quantisation and the model's own discretisation."""
COMMANDS, LATENCIES = 5, 8
"""How many past commands are remembered, and at how many latencies averages over latency are taken."""
WINDOWS = (1, 4, 16)
"""Samples over which innovations are averaged: a large change shows in one, a small one that stays in sixteen."""


class Smooth:
    """A signal without its noise and, on ramps, without lag: Holt's linear smoothing, critically damped.

    Arguments:
        level: (n,) the signal at first.
        memory_s: time constant.
    """

    def __init__(self, level: Array, memory_s: float) -> None:
        self.level, self._trend, self._memory_s = level.copy(), np.zeros_like(level), memory_s

    def update(self, sample: Array, dt: float) -> None:
        theta = np.exp(-dt / self._memory_s)
        ahead = self.level + dt * self._trend
        self.level = ahead + (1.0 - theta**2) * (sample - ahead)
        self._trend = self._trend + (1.0 - theta) ** 2 * (sample - ahead) / dt


class CommandHistory:
    """Which command acted, if it does so after an unknown latency: zero to two periods, equally likely, and up to as much more as a
    sample comes late.

    Arguments:
        effort: (n,) the command at first, thought to have acted for ever.
        period_s: the usual time from command to command.
    """

    def __init__(self, effort: Array, period_s: float) -> None:
        self._past = np.tile(effort, (COMMANDS, 1))
        self._held_s = np.full(COMMANDS, period_s)
        self._period_s = period_s

    @property
    def last_two(self) -> Array:
        """(2, n) the latest first."""
        return self._past[:2]

    def update(self, effort: Array, dt: float) -> None:
        """A command (n,) was issued, and dt later the next will be."""
        self._past = np.vstack([effort, self._past[:-1]])
        self._held_s = np.append(dt, self._held_s[:-1])

    def acting(self, effort: Array, dt: float) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the mean effort over the last dt, at whose start a command was issued."""
        longest = 2.0 * self._period_s + max(0.0, dt - self._period_s)
        latency = longest * (np.arange(LATENCIES)[:, None] + 0.5) / LATENCIES
        issued = np.concatenate([[0.0], -np.cumsum(self._held_s)])
        replaced = np.concatenate([[np.inf], issued[:-1]])
        issued[-1] = -np.inf
        shares = np.maximum(np.minimum(dt - latency, replaced) - np.maximum(-latency, issued), 0.0) / dt
        efforts = shares @ np.vstack([effort, self._past])
        return efforts.mean(axis=0), efforts.std(axis=0)


class VelocityNoise:
    """Variance of the measured velocity's noise, from its second differences: σ² = E[(v_k - 2 v_{k-1} + v_{k-2})²] / 6.

    The motion itself leaves them almost alone (jerk dt²). A jolt counts at most as four times the present estimate.
    """

    def __init__(self, initial: float) -> None:
        self.variance = initial**2
        self._past: list[Array] = []

    def update(self, v: Array, dt: float) -> None:
        self._past.append(v.copy())
        if len(self._past) < 3:
            return
        first, second, third = self._past
        sample = float(np.mean((third - 2.0 * second + first) ** 2)) / 6.0
        share = 1.0 - np.exp(-dt / NOISE_MEMORY_S)
        self.variance += share * (min(sample, 4.0 * self.variance) - self.variance)
        self.variance = float(np.clip(self.variance, *NOISE_VARIANCE_RANGE))
        self._past = [second, third]


class Whiteness:
    """Tests innovations: whitened, they are independent N(0, 1) while the model is right (Mehra, Peschon 1971).

    Arguments:
        probability: of an alarm at one sample and window, were the model right; 0: never.
        size: length of an innovation.
    """

    def __init__(self, probability: float, size: int) -> None:
        self._threshold = float(chi2.isf(probability, size))
        self._recent: deque[Array] = deque(maxlen=max(WINDOWS))

    def clear(self) -> None:
        """Forget what came so far."""
        self._recent.clear()

    def fails(self, white: Array) -> bool:
        """Take in a whitened innovation (m,); whether the mean over one of the windows is improbable."""
        self._recent.append(white)
        recent = np.array(self._recent)
        sums = [(window, recent[-window:].sum(axis=0)) for window in WINDOWS if window <= len(recent)]
        return any(float(total @ total) / window > self._threshold for window, total in sums)
