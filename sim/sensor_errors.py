# SPDX-License-Identifier: Apache-2.0
"""Sensors and drives as they are: noisy positions, late velocities, jitter, lost measurements, efforts that differ.

A measurement of the state (q, v), with n_q, n_t, n_u drawn anew from N(0, 1) each time:

    q_m = q + v σ_t n_t + σ_q n_q                  taken a little before or after its stamp; then rounded
    w_k = w_(k-1) + T / (T + τ) (x_k - w_(k-1))    velocity, low-passed with a mean lag of τ

where x is the true velocity, or the difference (q_m,k - q_m,k-1) / T of measured positions. A lost measurement is the
last one again, with its stamp. A command u acts as u + σ_u n_u.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import State
from metarl_robot.sim.noise import NoiseStreams

Array = NDArray[np.float64]

_STREAM = 1  # last word of the entropy; the noise of the velocity has none


@dataclass(frozen=True)
class SensorErrors:
    """Errors of one robot's sensors and drives, in the units of its coordinates.

    position_noise, effort_noise: standard deviations σ_q, σ_u. jitter_s: σ_t. velocity_lag_s: τ. differences: the
    velocity is a difference of positions. lost: probability that a measurement is lost.
    """

    position_noise: float = 0.0
    jitter_s: float = 0.0
    velocity_lag_s: float = 0.0
    differences: bool = False
    lost: float = 0.0
    effort_noise: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0.0):
                raise SignalError(f"task: sensor_errors {field.name} must be finite and >= 0; given {value}")
        if self.lost >= 1.0:
            raise SignalError(f"task: sensor_errors lost is a probability below 1; given {self.lost}")


_NONE = SensorErrors()


class ErroneousSensors:
    """Measurements of T robots. q, v: (T, n).

    Arguments:
        errors: T of them; None: none.
        seeds: T seeds of the sensors.
        size: n.
    """

    def __init__(self, errors: Sequence[SensorErrors | None], seeds: Sequence[int | Sequence[int]], size: int) -> None:
        self._n = size
        self._streams = NoiseStreams([[*np.atleast_1d(seed), _STREAM] for seed in seeds], 2 * size + 2)
        self._last: State | None = None
        self._lagged = np.zeros((len(seeds), size))
        self.lost = np.zeros(len(seeds), bool)
        self.set(errors)

    def set(self, errors: Sequence[SensorErrors | None]) -> None:
        """Take the errors of other tasks from now on."""
        given = [_NONE if each is None else each for each in errors]
        self._position, self._jitter, self._lag, self._effort, lost = (
            np.array([[getattr(each, name)] for each in given], dtype=np.float64)
            for name in ("position_noise", "jitter_s", "velocity_lag_s", "effort_noise", "lost")
        )
        self._differences = np.array([[each.differences] for each in given])
        self._least = ndtri(lost[:, 0])

    def position(self, q: Array, v: Array) -> Array:
        """The measured position, before rounding. Begins a measurement."""
        self._drawn = self._streams.next()
        moved = self._jitter * self._drawn[:, -1:]
        return np.asarray(q + v * moved + self._position * self._drawn[:, : self._n])

    def velocity(self, measured_q: Array, v: Array, dt: float) -> Array:
        """The measured velocity, before its noise; measured_q: rounded. dt: time since the last measurement [s]."""
        if self._last is None:
            self._lagged = v.copy()
            return v
        source = np.where(self._differences, (measured_q - self._last.q) / dt, v)
        lagged = self._lagged + dt / (dt + self._lag) * (source - self._lagged)
        self._lagged = np.where(self._lag > 0.0, lagged, source)
        return self._lagged

    def delivered(self, measured: State) -> State:
        """The measurement, or the last one again where it is lost (`lost` (T,))."""
        self.lost = (self._drawn[:, -2] < self._least) & (self._last is not None)
        if self._last is not None and self.lost.any():
            gone = self.lost[:, None]
            measured = State(np.where(gone, self._last.q, measured.q), np.where(gone, self._last.v, measured.v))
        self._last = measured
        return measured

    def acting(self, effort: Array) -> Array:
        """The effort (T, n) that acts in place of a command, since the last measurement."""
        return np.asarray(effort + self._effort * self._drawn[:, self._n : 2 * self._n])
