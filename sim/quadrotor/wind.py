# SPDX-License-Identifier: Apache-2.0
"""Wind over time: mean, sinusoid and Dryden gusts.

Gusts (MIL-F-8785C, 3.7.3, low altitudes, at its lowest altitude h of 10 ft) drift past at the mean wind speed V. As
functions of time they are stationary Gaussian processes with the power spectra, τ = L / V,

    along the wind        σ_u² τ_u / π · 1 / (1 + τ_u² ω²)
    across, and upward    σ² τ / 2π · (1 + 3 τ² ω²) / (1 + τ² ω²)²

L_w = h, L_u = L_v = h / (0.177 + 0.000823 h)^1.2, σ_u = σ_v = σ_w / (0.177 + 0.000823 h)^0.4 with h in ft. A sum of
sinusoids with Gaussian amplitudes has exactly that spectrum, needs no state, and can be evaluated at any time
(Shinozuka, Deodatis, Appl. Mech. Rev. 1991); it repeats after 41 s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind

Array = NDArray[np.float64]

GUST_DT_S = 0.02
GUST_SAMPLES = 2048
_ALTITUDE_FT = 10.0
_SHAPE = 0.177 + 0.000823 * _ALTITUDE_FT
UPWARD_SHARE = _SHAPE**0.4  # σ_w / σ_u
_LENGTH_W_M = 0.3048 * _ALTITUDE_FT
_LENGTH_U_M = _LENGTH_W_M / _SHAPE**1.2
_SLOWEST_M_S = 1.0  # gusts in calm air drift past at this speed


class WindField:
    """The wind of T tasks at any time, without walls."""

    def __init__(self, tasks: Sequence[QuadrotorTask]) -> None:
        winds = [task.wind for task in tasks]
        self.mean = np.array([wind.mean_m_s for wind in winds])
        self.swing = np.array([wind.swing_m_s for wind in winds])
        self._swings = bool(np.any(self.swing))
        self.swing_rate = np.array([wind.swing_rad_s for wind in winds])[:, None]
        gusty = any(wind.gust_m_s > 0.0 for wind in winds)
        self.gusts = np.stack([gusts(wind) for wind in winds], axis=1) if gusty else np.zeros((0, len(winds), 3))

    def at(self, times: Array) -> Array:
        """Air velocity (S, T, 3) [m/s; world] at times (S,) >= 0 [s]."""
        wind = np.repeat(self.mean[None], len(times), axis=0)
        if self._swings:
            wind += self.swing * np.sin(self.swing_rate * times[:, None, None])
        if len(self.gusts):
            place, share = np.divmod(times / GUST_DT_S, 1.0)
            first = place.astype(int) % GUST_SAMPLES
            share = share[:, None, None]
            wind += (1.0 - share) * self.gusts[first] + share * self.gusts[(first + 1) % GUST_SAMPLES]
        return wind


def gusts(wind: Wind) -> Array:
    """Gusts (GUST_SAMPLES, 3) [m/s; world], one sample every GUST_DT_S, periodic."""
    if wind.gust_m_s == 0.0:
        return np.zeros((GUST_SAMPLES, 3))
    speed = max(float(np.linalg.norm(wind.mean_m_s)), _SLOWEST_M_S)
    step = 2.0 * np.pi / (GUST_SAMPLES * GUST_DT_S)
    omega = step * np.arange(GUST_SAMPLES // 2 + 1)
    along, across = omega * _LENGTH_U_M / speed, omega * _LENGTH_U_M / speed
    upward = omega * _LENGTH_W_M / speed
    spectra = np.stack(
        [
            2.0 * _LENGTH_U_M / speed / (1.0 + along**2),
            _LENGTH_U_M / speed * (1.0 + 3.0 * across**2) / (1.0 + across**2) ** 2,
            _LENGTH_W_M / speed * (1.0 + 3.0 * upward**2) / (1.0 + upward**2) ** 2 * UPWARD_SHARE**2,
        ]
    )
    variance = wind.gust_m_s**2 * spectra * step / np.pi  # of each sinusoid
    variance[:, 0] *= 0.5
    normal = np.random.default_rng(wind.gust_seed).standard_normal((2, *variance.shape))
    amplitude = 0.5 * GUST_SAMPLES * np.sqrt(variance) * (normal[0] + 1j * normal[1])
    amplitude[:, 0] = GUST_SAMPLES * np.sqrt(variance[:, 0]) * normal[0, :, 0]
    series = np.fft.irfft(amplitude, GUST_SAMPLES, axis=1)
    return np.asarray(series.T @ _wind_axes(wind).T)


def _wind_axes(wind: Wind) -> Array:
    """Axes (3, 3) in columns: along the horizontal mean wind (world x in calm air), across, up."""
    heading = float(np.arctan2(wind.mean_m_s[1], wind.mean_m_s[0]))
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def strongest(wind: Wind) -> Array:
    """Wind (3,) [m/s; world] that is rarely exceeded.

    It is the sum of mean, amplitude of the swing and two standard deviations of gusts.
    """
    speed = float(np.linalg.norm(wind.mean_m_s))
    direction = wind.mean_m_s / speed if speed > 0.0 else np.array([1.0, 0.0, 0.0])
    extra = abs(float(wind.swing_m_s @ direction)) + 2.0 * wind.gust_m_s
    return wind.mean_m_s + extra * direction
