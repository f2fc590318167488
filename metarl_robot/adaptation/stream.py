"""What a filter learns from the stream of samples itself: how noisy it is, its smooth part, which command acted, whether it is white."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Array = NDArray[np.float64]

NOISE_MEMORY_S = 0.5
NOISE_VARIANCE_RANGE = (1e-3**2, 0.2**2)
"""(rad/s)². The lower end covers quantisation and the model's own discretisation."""
LONGEST_LATENCY, LATENCIES = 6.0, 19
"""Latencies that are thought of: from none to this many periods, so many."""
COMMANDS = 9
"""How many past commands are remembered: enough for the longest latency and late samples."""
UNUSUAL = 1.0
"""Log-probability that each period beyond two costs at first."""
LATENCY_MEMORY_S = 2.0
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
    """Which command acted: each does so after a latency that is not known, but learned from what the robot did.

    Each latency of a grid predicts how the robot moves; those that predict better gain weight (a bank of models; Magill 1965).

    Arguments:
        effort: (n,) the command at first, thought to have acted for ever.
        period_s: the usual time from command to command.
    """

    def __init__(self, effort: Array, period_s: float) -> None:
        self._past = np.tile(effort, (COMMANDS, 1))
        self._held_s = np.full(COMMANDS, period_s)
        self._period_s = period_s
        self._latency = period_s * np.linspace(0.0, LONGEST_LATENCY, LATENCIES)
        self._prior = -UNUSUAL * np.maximum(self._latency / period_s - 2.0, 0.0)
        self._evidence = self._prior.copy()

    @property
    def last_two(self) -> Array:
        """(2, n) the latest first."""
        return self._past[:2]

    @property
    def latency_s(self) -> float:
        """The mean latency, from the stamp of a state to the effect of its command."""
        return float(self._weights @ self._latency)

    def update(self, effort: Array, dt: float) -> None:
        """A command (n,) was issued, and dt later the next will be."""
        self._past = np.vstack([effort, self._past[:-1]])
        self._held_s = np.append(dt, self._held_s[:-1])

    def acting(self, effort: Array, dt: float) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the mean effort over the last dt, at whose start a command was issued.

        A sample that comes late leaves open whether its command did, too.
        """
        late = max(0.0, dt - self._period_s) * np.array([0.0, 0.5, 1.0])
        latency = (self._latency[:, None] + late)[:, :, None]
        issued = np.concatenate([[0.0], -np.cumsum(self._held_s)])
        replaced = np.concatenate([[np.inf], issued[:-1]])
        issued[-1] = -np.inf
        shares = np.maximum(np.minimum(dt - latency, replaced) - np.maximum(-latency, issued), 0.0) / dt
        efforts = shares @ np.vstack([effort, self._past])
        self._candidates = efforts.mean(axis=1)
        mean = self._weights @ self._candidates
        return mean, np.sqrt(self._weights @ ((efforts - mean) ** 2).mean(axis=1))

    def learn(self, white: Array, response: Array, dt: float) -> None:
        """Weigh the latencies.

        Arguments:
            white: (m,) the whitened innovation of the last prediction, which took the mean that `acting` returned.
            response: (m, n) by how much it would have been less for a unit of effort more.
            dt: the time that it covered.
        """
        left = white - (self._candidates - self._weights @ self._candidates) @ response.T
        likelihood = -0.5 * np.sum(left**2, axis=1)
        keep = np.exp(-dt / LATENCY_MEMORY_S)
        self._evidence = keep * self._evidence + (1.0 - keep) * self._prior + likelihood - likelihood.max()

    @property
    def _weights(self) -> Array:
        """Of the grid's latencies; each shares with its neighbours, as the truth lies somewhere between."""
        weights = np.convolve(np.exp(self._evidence - self._evidence.max()), [0.25, 0.5, 0.25], mode="same")
        return np.asarray(weights / weights.sum(), dtype=np.float64)


class VelocityNoise:
    """Variance of the measured velocity's noise, from its second differences: σ² = E[(v_k - 2 v_{k-1} + v_{k-2})²] / 6.

    The motion itself leaves them almost alone (jerk dt²). A jolt counts at most as four times the present estimate.

    Arguments:
        initial: (groups,) standard deviation at first.
        group: (n,) which group each velocity belongs to: what is alike shares one estimate.
    """

    def __init__(self, initial: Sequence[float], group: NDArray[np.intp]) -> None:
        self.variance = np.square(np.asarray(initial, dtype=np.float64))
        self._share_of = (group == np.arange(len(self.variance))[:, None]) / np.bincount(group)[:, None]
        self._past: list[Array] = []

    def update(self, v: Array, dt: float) -> None:
        self._past.append(v.copy())
        if len(self._past) < 3:
            return
        first, second, third = self._past
        sample = self._share_of @ (third - 2.0 * second + first) ** 2 / 6.0
        share = 1.0 - np.exp(-dt / NOISE_MEMORY_S)
        moved = self.variance + share * (np.minimum(sample, 4.0 * self.variance) - self.variance)
        self.variance = np.clip(moved, *NOISE_VARIANCE_RANGE)
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
