# SPDX-License-Identifier: Apache-2.0
"""Online statistics of the sample stream: noise, smoothing, input latency and whiteness.

In C if there is a compiler (stream.c), else in numpy; results agree to rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from metarl_robot.compile.kernel import Kernel, address, kernel

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]
_POINTER = ctypes.c_void_p

NOISE_MEMORY_S = 0.5
NOISE_VARIANCE_RANGE = (1e-3**2, 0.2**2)
"""Range of the variance [(rad/s)²]. The lower end covers quantisation and the model's own discretisation."""
FIRST_SAMPLES = 10
"""Samples for which the initial noise levels count."""
LARGEST = 16.0
"""A sample counts at most as this multiple of the present variance."""
SLOW_S, SLOW_CORRELATION_S = 0.05, 0.1
"""A lasting velocity error is averaged over the first time, and counts as correlated over the second."""
EFFORT_NOISE_MEMORY_S = 1.0
ERROR_WINDOW_S, ERROR_MEMORY_S = 0.05, 0.5
"""A model error adds up over the first time; its size is averaged over the second."""
MOST_ERROR = 50.0
"""Largest model error, as a multiple of the least."""
LONGEST_LATENCY, LATENCIES = 6.0, 19
"""The grid has LATENCIES latencies from zero to LONGEST_LATENCY periods."""
COMMANDS = 9
"""Number of past commands kept: enough for the longest latency and late samples."""
UNUSUAL = 1.0
"""Prior log-probability lost for each period of latency beyond two."""
LATENCY_MEMORY_S = 2.0
WINDOWS = (1, 4, 16)
"""Samples over which innovations are averaged: one shows a large change, sixteen a small lasting one."""


def smooth(level: Array, memory_s: float, compiled: bool = True) -> Smooth:
    """Build a Smooth. compiled: in C if there is a compiler."""
    library = _library(compiled)
    return Smooth(level, memory_s) if library is None else CompiledSmooth(level, memory_s, library)


def command_history(
    effort: Array,
    period_s: float,
    latency_s: float | None = None,
    earlier_std: Array | None = None,
    compiled: bool = True,
) -> CommandHistory:
    """Build a CommandHistory. compiled: in C if there is a compiler."""
    library = _library(compiled)
    if library is None:
        return CommandHistory(effort, period_s, latency_s, earlier_std)
    return CompiledCommandHistory(effort, period_s, library, latency_s, earlier_std)


def velocity_noise(initial: Sequence[float], group: IntArray, compiled: bool = True) -> VelocityNoise:
    """Build a VelocityNoise. compiled: in C if there is a compiler."""
    library = _library(compiled)
    return VelocityNoise(initial, group) if library is None else CompiledVelocityNoise(initial, group, library)


def sensor_noise(least: Array, compiled: bool = True) -> SensorNoise:
    """Build a SensorNoise. compiled: in C if there is a compiler."""
    library = _library(compiled)
    return SensorNoise(least) if library is None else CompiledSensorNoise(least, library)


def effort_noise(error: Array, nu: int, compiled: bool = True) -> EffortNoise:
    """Build an EffortNoise. compiled: in C if there is a compiler."""
    library = _library(compiled)
    return EffortNoise(error, nu) if library is None else CompiledEffortNoise(error, nu, library)


def whiteness(probability: float, size: int, more: int = 0, compiled: bool = True) -> Whiteness:
    """Build a Whiteness. compiled: in C if there is a compiler."""
    library = _library(compiled)
    return (
        Whiteness(probability, size, more) if library is None else CompiledWhiteness(probability, size, more, library)
    )


def _library(compiled: bool) -> Kernel | None:
    return kernel("adaptation", "stream") if compiled else None


class Smooth:
    """Holt's linear smoothing, critically damped: removes noise, and has no lag on ramps.

    Arguments:
        level: (n,) initial value of the signal.
        memory_s: time constant.
    """

    def __init__(self, level: Array, memory_s: float) -> None:
        self.level, self._trend, self._memory_s = level.copy(), np.zeros_like(level), memory_s

    def update(self, sample: Array, dt: float) -> None:
        theta = exp(-dt / self._memory_s)
        ahead = self.level + dt * self._trend
        off = sample - ahead
        self.level[:] = ahead + (1.0 - theta**2) * off
        self._trend += (1.0 - theta) ** 2 / dt * off


class CompiledSmooth(Smooth):
    """Smooth in C (stream.c)."""

    def __init__(self, level: Array, memory_s: float, library: Kernel) -> None:
        super().__init__(level, memory_s)
        self._sample = np.zeros_like(level)
        self._addresses = tuple(map(address, (self.level, self._trend, self._sample)))
        number = ctypes.c_double
        self._in_c = ctypes.CFUNCTYPE(None, *3 * (_POINTER,), ctypes.c_long, number, number)(("smooth", library))

    def update(self, sample: Array, dt: float) -> None:
        self._sample[:] = sample
        self._in_c(*self._addresses, len(sample), dt, self._memory_s)


class CommandHistory:
    """Past commands and the latency after which they act, learned from the robot's motion.

    A bank of models with different latencies (Magill 1965). Each latency of a grid predicts the motion; those that
    predict better gain weight.

    Arguments:
        effort: (n,) the first command, taken to have acted forever.
        period_s: usual time from command to command.
        latency_s: where it is known, the bank's only latency; None: it is learned.
        earlier_std: (n,) standard deviation of the command before the first one; it acts until the first one takes
            effect. None: that was the first command, too.
    """

    def __init__(
        self, effort: Array, period_s: float, latency_s: float | None = None, earlier_std: Array | None = None
    ) -> None:
        self._past: Array = np.tile(effort, (1 + COMMANDS, 1))  # the latest first, after the one just issued
        self._held_s: Array = np.full(COMMANDS, period_s)
        self._earlier = np.array([0.0] + [1.0] * COMMANDS)  # of `_past`: 1 for a command before the first one
        self._earlier_std: Array = np.zeros(len(effort)) if earlier_std is None else earlier_std.copy()
        self._period_s = period_s
        grid = period_s * np.linspace(0.0, LONGEST_LATENCY, LATENCIES)
        self._latency: Array = grid if latency_s is None else np.array([latency_s])
        self._prior: Array = -UNUSUAL * np.maximum(self._latency / period_s - 2.0, 0.0)
        self._evidence = self._prior.copy()
        count = len(self._latency)
        self._candidates, self._acting, self._effort_std = (
            np.zeros((count, len(effort))),
            effort.copy(),
            np.zeros(len(effort)),
        )
        self._weights = np.empty(count)
        self._weigh()

    @property
    def last_two(self) -> Array:
        """The last two commands (2, n), the latest first."""
        return self._past[1:3]

    @property
    def mean(self) -> Array:
        """The last mean (n,) of `acting`."""
        return self._acting

    @property
    def latency_s(self) -> float:
        """Mean latency, from the stamp of a state to the effect of its command."""
        return float(self._weights @ self._latency)

    @property
    def latency_std_s(self) -> float:
        """Standard deviation of the latency."""
        away = self._latency - self.latency_s
        return float(np.sqrt(self._weights @ (away * away)))

    def update(self, effort: Array, dt: float) -> None:
        """Record a command (n,) that is held for dt until the next one."""
        self._past[0] = effort
        self._issued(dt)

    def _issued(self, dt: float) -> None:
        self._past[1:] = self._past[:-1]
        self._held_s[1:] = self._held_s[:-1]
        self._earlier[1:] = self._earlier[:-1]
        self._held_s[0] = dt

    def acting(self, effort: Array, dt: float) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the mean effort over the last dt; `effort` was issued at its start.

        If a sample is late, its command may have been late, too. Overwritten by the next call.
        """
        self._past[0] = effort
        self._act(dt)
        return self._acting, self._effort_std

    def _act(self, dt: float) -> None:
        late = max(0.0, dt - self._period_s) * np.array([0.0, 0.5, 1.0])
        latency = (self._latency[:, None] + late)[:, :, None]
        issued = np.concatenate([[0.0], -np.cumsum(self._held_s)])
        replaced = np.concatenate([[np.inf], issued[:-1]])
        issued[-1] = -np.inf
        shares = np.maximum(np.minimum(dt - latency, replaced) - np.maximum(-latency, issued), 0.0) / dt
        efforts = shares @ self._past
        self._candidates[:] = efforts.mean(axis=1)
        self._acting[:] = self._weights @ self._candidates
        unknown = self._weights @ np.square(shares @ self._earlier).mean(axis=1)
        by_latency = self._weights @ np.square(efforts - self._acting).mean(axis=1)
        self._effort_std[:] = np.sqrt(by_latency + unknown * np.square(self._earlier_std))

    def learn(self, white: Array, response: Array, dt: float) -> None:
        """Update the weights of the latencies.

        Arguments:
            white: (m,) whitened innovation of the last prediction, which used the mean effort from `acting`.
                Contiguous.
            response: (m, n) decrease of that innovation per unit of effort. Contiguous.
            dt: the interval of that prediction.
        """
        self._learn(white, response, exp(-dt / LATENCY_MEMORY_S))

    def _learn(self, white: Array, response: Array, keep: float) -> None:
        left = white - (self._candidates - self._acting) @ response.T
        likelihood = -0.5 * np.sum(left**2, axis=1)
        self._evidence[:] = keep * self._evidence + (1.0 - keep) * self._prior + likelihood - likelihood.max()
        self._weigh()

    def _weigh(self) -> None:
        """Compute the weights, smoothed over neighbours: the true latency lies between grid values."""
        likely = np.exp(self._evidence - self._evidence.max())
        weights = 0.5 * likely
        weights[1:] += 0.25 * likely[:-1]
        weights[:-1] += 0.25 * likely[1:]
        self._weights[:] = weights / weights.sum()


class CompiledCommandHistory(CommandHistory):
    """CommandHistory in C (stream.c)."""

    def __init__(
        self,
        effort: Array,
        period_s: float,
        library: Kernel,
        latency_s: float | None = None,
        earlier_std: Array | None = None,
    ) -> None:
        super().__init__(effort, period_s, latency_s, earlier_std)
        count = len(self._latency)
        self._scratch = np.zeros((count, 3, len(effort)))
        self._struct = library.struct(
            "History",
            nu=len(effort), latencies=count, commands=1 + COMMANDS, period=float(period_s),
            latency=self._latency, prior=self._prior, past=self._past, held=self._held_s,
            earlier=self._earlier, earlier_std=self._earlier_std, evidence=self._evidence, weights=self._weights,
            candidates=self._candidates, acting=self._acting, effort_std=self._effort_std, scratch=self._scratch,
        )  # fmt: skip
        self._self, of_time = ctypes.byref(self._struct), ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_double)
        self._in_c_act, self._in_c_issued = of_time(("acting", library)), of_time(("issued", library))
        self._in_c_learn = ctypes.CFUNCTYPE(None, *3 * (_POINTER,), ctypes.c_long, ctypes.c_double)(("learn", library))

    def _act(self, dt: float) -> None:
        self._in_c_act(self._self, dt)

    def _issued(self, dt: float) -> None:
        self._in_c_issued(self._self, dt)

    def _learn(self, white: Array, response: Array, keep: float) -> None:
        self._in_c_learn(self._self, address(white), address(response), len(white), keep)


class VelocityNoise:
    """Variance of the velocity measurement's noise: σ² = E[(v_k - 2 v_{k-1} + v_{k-2})²] / 6.

    The motion itself hardly changes second differences (jerk dt²). A jolt counts at most as four times the present
    estimate.

    Arguments:
        initial: (groups,) initial standard deviation.
        group: (n,) group of each velocity; the velocities of a group share one estimate.
    """

    def __init__(self, initial: Sequence[float], group: IntArray) -> None:
        self.variance = np.square(np.asarray(initial, dtype=np.float64))
        self._share_of = (group == np.arange(len(self.variance))[:, None]) / np.bincount(group)[:, None]
        self._last, self._step = np.zeros(len(group)), np.zeros(len(group))
        self._known = 0

    def update(self, v: Array, dt: float) -> None:
        self._take(v, dt)
        self._known = min(self._known + 1, 2)

    def _take(self, v: Array, dt: float) -> None:
        step = v - self._last
        bend = step - self._step
        self._last[:], self._step[:] = v, step
        if self._known == 2:
            share, now = 1.0 - exp(-dt / NOISE_MEMORY_S), self.variance
            moved = now + share * (np.minimum(self._share_of @ (bend * bend) / 6.0, 4.0 * now) - now)
            self.variance[:] = np.clip(moved, *NOISE_VARIANCE_RANGE)


class CompiledVelocityNoise(VelocityNoise):
    """VelocityNoise in C (stream.c)."""

    def __init__(self, initial: Sequence[float], group: IntArray, library: Kernel) -> None:
        super().__init__(initial, group)
        self._v, (least, most) = np.zeros(len(group)), NOISE_VARIANCE_RANGE
        self._struct = library.struct(
            "Noise",
            n=len(group), groups=len(self.variance), memory=NOISE_MEMORY_S, least=least, most=most,
            share_of=self._share_of, v=self._v, last=self._last, step=self._step, variance=self.variance,
        )  # fmt: skip
        self._self = ctypes.byref(self._struct)
        self._in_c = ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_double, ctypes.c_long)(("noise", library))

    def _take(self, v: Array, dt: float) -> None:
        self._v[:] = v
        self._in_c(self._self, dt, self._known)


class SensorNoise:
    """Noise of positions and stamps, and slow errors of velocities, from e_k = Δq - v̄ Δt.

    b_k = e_k - e_{k-1} has six times the variance of the noise of one sample. A stamp that is wrong by δ moves all
    positions, by -v δ: the part of b along v gives the variance of δ, the rest that of each position, less the share of
    the velocities. The mean of e_k / Δt over SLOW_S is a lasting velocity error, for example from filters that lag: it
    counts as white noise of SLOW_CORRELATION_S / Δt times its variance.

    position, velocity: (n,) variance of positions, and of velocities beyond their white noise. jitter: that of stamps.

    Arguments:
        least: (n,) least standard deviation of the position.
    """

    def __init__(self, least: Array) -> None:
        n = len(least)
        self._least = np.square(least)
        self.position, self.velocity = self._least.copy(), np.zeros(n)
        self._off, self._mean, self._last_v = np.zeros(n), np.zeros(n), np.zeros(n)
        self._stamp = np.zeros(2)  # variance of the stamps and its information
        self._known = 0

    @property
    def jitter(self) -> float:
        """Variance of the stamps [s²]."""
        return float(self._stamp[0])

    def update(self, moved: Array, v: Array, white: Array, dt: float) -> None:
        """Process a sample. moved: (n,) measured displacement; white: (n,) variance of the velocity's white noise."""
        self._take(moved, v, white, dt)
        self._known += 1

    def _take(self, moved: Array, v: Array, white: Array, dt: float) -> None:
        off = moved - 0.5 * dt * (v + self._last_v)
        bend = off - self._off
        self._off[:], self._last_v[:] = off, v
        if self._known < 2:
            return
        share = max(1.0 - exp(-dt / NOISE_MEMORY_S), 1.0 / (self._known + FIRST_SAMPLES))
        bend = bend - v * self._of_stamp(bend, v, exp(-dt / NOISE_MEMORY_S))
        of_position = np.square(bend) / 6.0 - white * dt**2 / 12.0
        now = self.position
        now[:] = np.maximum(now + share * (np.minimum(of_position, LARGEST * now) - now), self._least)
        self._take_slow(off / dt, v, white, share, dt)

    def _of_stamp(self, bend: Array, v: Array, keep: float) -> float:
        """The part of `bend` that is due to the stamps, per velocity; their variance is updated."""
        jitter, information = self._stamp.tolist()
        fit, size = float(bend @ (v / self.position)), float(v @ (v / self.position)) + 1e-300
        information = keep * information + size**2
        excess = min(fit**2 / 6.0, LARGEST * (jitter * size**2 + size)) - size - jitter * size**2
        jitter = max(jitter + excess / (information + FIRST_SAMPLES * size**2), 0.0)
        self._stamp[:] = jitter, information
        return float(jitter * fit / (jitter * size + 1.0))

    def _take_slow(self, error: Array, v: Array, white: Array, share: float, dt: float) -> None:
        fade, now = exp(-dt / SLOW_S), self.velocity
        self._mean[:] = fade * self._mean + (1.0 - fade) * error
        of_position = 2.0 * (1.0 - fade) ** 2 * (self.position + self.jitter * v**2) / dt**2
        known = (of_position + (1.0 - fade) * white) / (1.0 + fade)
        slow = SLOW_CORRELATION_S / dt * (np.square(self._mean) - known)
        now[:] = np.maximum(now + share * (np.minimum(slow, LARGEST * (now + white)) - now), 0.0)


class CompiledSensorNoise(SensorNoise):
    """SensorNoise in C (stream.c)."""

    def __init__(self, least: Array, library: Kernel) -> None:
        super().__init__(least)
        self._moved, self._v, self._white = (np.zeros(len(least)) for _ in range(3))
        self._struct = library.struct(
            "Sensors",
            n=len(least), memory=NOISE_MEMORY_S, slow=SLOW_S, correlation=SLOW_CORRELATION_S,
            first=float(FIRST_SAMPLES), largest=LARGEST, least=self._least, moved=self._moved, v=self._v,
            white=self._white, off=self._off, mean=self._mean, last_v=self._last_v, stamp=self._stamp,
            position=self.position, velocity=self.velocity,
        )  # fmt: skip
        self._self = ctypes.byref(self._struct)
        self._in_c = ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_double, ctypes.c_long)(("sensors", library))

    def _take(self, moved: Array, v: Array, white: Array, dt: float) -> None:
        self._moved[:], self._v[:], self._white[:] = moved, v, white
        self._in_c(self._self, dt, self._known)


class EffortNoise:
    """White noise of efforts and size of the fast model error, from whitened innovations.

    A sample measures the error of effort j with the variance 1 / J_j, J_j = |r_j|², r_j the response of the whitened
    innovation w to it. (r_jᵀ w)² / J_j² exceeds 1 / J_j by the variance that the filter lacks (Fisher scoring of a
    variance component). Errors that last as long as the model error add up over ERROR_WINDOW_S: as long as their mean
    square is too large, the model error grows.

    white: (nu,) variance of the efforts' noise. error: (n,) variance of the model error. Only if each effort acts on
    one coordinate (nu = n) is the latter estimated.

    Arguments:
        error: (n,) least standard deviation of the model error.
        nu: number of efforts.
    """

    def __init__(self, error: Array, nu: int) -> None:
        self._least = np.square(error)
        self.error, self.white = self._least.copy(), np.zeros(nu)
        self._information, self._sum = np.zeros(nu), np.zeros(nu)

    def update(self, white: Array, response: Array, dt: float) -> None:
        """Process a whitened innovation (m,) and its response (m, nu); contiguous arrays."""
        fit, size = white @ response, np.square(response).sum(axis=0) + 1e-300
        self._information[:] = exp(-dt / EFFORT_NOISE_MEMORY_S) * self._information + size**2
        excess = np.minimum(fit**2, LARGEST * size) - size
        self.white[:] = np.maximum(self.white + excess / (self._information + FIRST_SAMPLES * size**2), 0.0)
        fade = exp(-dt / ERROR_WINDOW_S)
        self._sum[:] = fade * self._sum + fit / np.sqrt(size)
        if len(self.error) == len(self.white):
            too_large = np.clip(np.square(self._sum) * (1.0 - fade**2) - 1.0, -1.0, 3.0)
            grown = self.error * np.exp((1.0 - exp(-dt / ERROR_MEMORY_S)) * too_large)
            self.error[:] = np.clip(grown, self._least, MOST_ERROR**2 * self._least)


class CompiledEffortNoise(EffortNoise):
    """EffortNoise in C (stream.c)."""

    def __init__(self, error: Array, nu: int, library: Kernel) -> None:
        super().__init__(error, nu)
        self._struct = library.struct(
            "Efforts",
            n=len(error), nu=nu, memory=EFFORT_NOISE_MEMORY_S, window=ERROR_WINDOW_S, error_memory=ERROR_MEMORY_S,
            first=float(FIRST_SAMPLES), largest=LARGEST, most=MOST_ERROR**2, least=self._least,
            information=self._information, sum=self._sum, white=self.white, error=self.error,
        )  # fmt: skip
        self._self, number = ctypes.byref(self._struct), ctypes.c_double
        self._in_c = ctypes.CFUNCTYPE(None, *3 * (_POINTER,), ctypes.c_long, number)(("efforts", library))

    def update(self, white: Array, response: Array, dt: float) -> None:
        self._in_c(self._self, address(white), address(response), len(white), dt)


class Whiteness:
    """Whiteness test of innovations: with a correct model they are independent N(0, 1) (Mehra, Peschon 1971).

    Arguments:
        probability: false-alarm probability per sample and window; 0: never an alarm.
        size: length of an innovation, which may have up to `more` further entries.
    """

    def __init__(self, probability: float, size: int, more: int = 0) -> None:
        self._threshold = float(chdtri(size, probability))
        self._white, self._recent = np.zeros(size + more), np.zeros((max(WINDOWS), size + more))  # the latest first
        self._count = 0

    def clear(self) -> None:
        """Discard all innovations so far."""
        self._count = 0

    def fails(self, white: Array) -> bool:
        """Add a whitened innovation; true if the mean over one of the windows is improbable."""
        self._white[: len(white)], self._white[len(white) :] = white, 0.0
        self._count += 1
        return self._improbable()

    def _improbable(self) -> bool:
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = self._white
        sums = [self._recent[:window].sum(axis=0) for window in WINDOWS if window <= self._count]
        return any(
            float(total @ total) > self._threshold * window for total, window in zip(sums, WINDOWS, strict=False)
        )


class CompiledWhiteness(Whiteness):
    """Whiteness in C (stream.c)."""

    def __init__(self, probability: float, size: int, more: int, library: Kernel) -> None:
        super().__init__(probability, size, more)
        self._windows = np.array(WINDOWS, dtype=np.float64)
        self._struct = library.struct(
            "Whiteness",
            size=size + more, windows=len(WINDOWS), width=max(WINDOWS), threshold=self._threshold,
            window=self._windows, white=self._white, recent=self._recent,
        )  # fmt: skip
        self._self = ctypes.byref(self._struct)
        self._in_c = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_long)(("fails", library))

    def _improbable(self) -> bool:
        return bool(self._in_c(self._self, self._count))
