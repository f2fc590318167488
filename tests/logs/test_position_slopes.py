# SPDX-License-Identifier: Apache-2.0
"""Velocities from positions: exact for a straight line, and with less noise where positions are noisier."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.logs.position_slopes import LONGEST_S, SHORTEST_S, VELOCITY_NOISE_M_S, half_window_s, slopes

TIME_S = np.arange(0.0, 100.0, 0.005)


def swings() -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities (K, 3) of a drone that swings by a metre."""
    angle = 2.0 * np.pi * np.array([0.2, 0.4, 0.5]) * TIME_S[:, None] + np.arange(3)
    return np.sin(angle), 2.0 * np.pi * np.array([0.2, 0.4, 0.5]) * np.cos(angle)


def test_a_straight_line_has_its_slope_at_irregular_times_and_at_its_ends() -> None:
    rng = np.random.default_rng(1000)
    time_s = 0.015 * np.arange(200_000) + rng.uniform(0.0, 0.005, 200_000)
    found = slopes(time_s, time_s[:, None] * np.array([2.0, -0.5, 0.0]) + 1e3, time_s[::100], 0.05)
    np.testing.assert_allclose(found, np.tile([2.0, -0.5, 0.0], (2000, 1)), atol=1e-4)


def test_where_rows_are_missing_the_nearest_two_count() -> None:
    kept = (TIME_S < 1.0) | (TIME_S > 2.0)
    found = slopes(TIME_S[kept], 3.0 * TIME_S[kept, None], np.array([1.5]), 0.02)
    assert found == pytest.approx(3.0)


@pytest.mark.parametrize("noise_m", [0.0, 1e-3, 5e-3, 2e-2])
def test_the_window_is_as_long_as_the_noise_asks_for(noise_m: float) -> None:
    place, speed = swings()
    noisy = place + noise_m * np.random.default_rng(1001).normal(size=place.shape)
    half_s = half_window_s(TIME_S, noisy)
    error = np.sqrt(np.mean((slopes(TIME_S, noisy, TIME_S, half_s) - speed)[100:-100] ** 2))
    assert 2.0 * half_s + 1e-12 >= SHORTEST_S and 2.0 * half_s <= LONGEST_S + 1e-12
    expected = noise_m * np.sqrt(12.0 * 0.005 / (2.0 * half_s) ** 3)
    assert error < 1.2 * expected + 0.02
    if noise_m == 5e-3:
        assert error < 1.5 * VELOCITY_NOISE_M_S
        assert noise_m * np.sqrt(2.0) / 0.02 > 10.0 * error, "a difference over 20 ms has ten times the noise"
