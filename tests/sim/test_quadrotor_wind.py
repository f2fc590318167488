# SPDX-License-Identifier: Apache-2.0
"""Wind over time: Dryden's statistics, and nothing but a function of task and time."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wall, Wind
from metarl_robot.sim.quadrotor.wind import GUST_DT_S, GUST_SAMPLES, UPWARD_SHARE, WindField, gusts, strongest

SPEED, SIGMA = 8.5, 1.3
LENGTH_W_M = 3.048  # 10 ft
LENGTH_U_M = LENGTH_W_M / (0.177 + 0.00823) ** 1.2


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """(seeds, samples, 3) along, across and up."""
    return np.stack([gusts(Wind((SPEED, 0.0, 0.0), gust_m_s=SIGMA, gust_seed=seed)) for seed in range(400)])


def correlation(series: np.ndarray, lag_s: float) -> float:
    lag = round(lag_s / GUST_DT_S)
    return float(np.mean(series * np.roll(series, -lag, axis=1)) / np.mean(series**2))


def test_gusts_have_drydens_standard_deviations(many) -> None:
    np.testing.assert_allclose(many.std((0, 1)), [SIGMA, SIGMA, UPWARD_SHARE * SIGMA], rtol=0.03)
    # each run's own mean has a standard deviation of about 0.4
    np.testing.assert_allclose(many.mean((0, 1)), 0.0, atol=0.1)
    np.testing.assert_allclose(UPWARD_SHARE, 0.509, atol=0.001)


@pytest.mark.parametrize("lag_s", [0.1, 0.5, 2.0])
def test_gusts_have_drydens_correlation_over_time(many, lag_s: float) -> None:
    """exp(-t / T) along the wind, (1 - t / 2 T) exp(-t / T) across it, T = L / V."""
    along, up = lag_s * SPEED / LENGTH_U_M, lag_s * SPEED / LENGTH_W_M
    assert correlation(many[..., 0], lag_s) == pytest.approx(np.exp(-along), abs=0.02)
    assert correlation(many[..., 1], lag_s) == pytest.approx((1 - along / 2) * np.exp(-along), abs=0.02)
    assert correlation(many[..., 2], lag_s) == pytest.approx((1 - up / 2) * np.exp(-up), abs=0.02)


def test_gusts_are_gaussian_and_of_independent_axes(many) -> None:
    scaled = many / many.std((0, 1))
    assert np.mean(scaled**4) == pytest.approx(3.0, abs=0.15)
    across = np.mean(scaled[:, :, [0, 0, 1]] * scaled[:, :, [1, 2, 2]], axis=(0, 1))
    np.testing.assert_allclose(across, 0.0, atol=0.05)


def test_gusts_turn_with_the_wind() -> None:
    along_x = gusts(Wind((4.0, 0.0, 0.0), gust_m_s=1.0, gust_seed=3))
    along_y = gusts(Wind((0.0, 4.0, 0.0), gust_m_s=1.0, gust_seed=3))
    np.testing.assert_allclose(along_y, along_x @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]), atol=1e-12)


def test_wind_is_continuous_and_repeats() -> None:
    wind = Wind((SPEED, 0.0, 0.0), (0.0, 2.0, 0.0), 1.5, gust_m_s=SIGMA, gust_seed=1)
    field = WindField([QuadrotorTask(wind=wind), QuadrotorTask()])
    period = GUST_DT_S * GUST_SAMPLES
    times = np.arange(period - 1.0, period + 1.0, 0.001)
    values = field.at(times)
    assert np.abs(np.diff(values, axis=0)).max() < 0.05
    assert not values[:, 1].any()
    still = WindField([QuadrotorTask(wind=Wind((SPEED, 0.0, 0.0), gust_m_s=SIGMA, gust_seed=1))])
    np.testing.assert_allclose(still.at(times), still.at(times + period), atol=1e-9)
    steady = values[:, 0] - still.at(times)[:, 0]
    np.testing.assert_allclose(steady, np.array([0.0, 2.0, 0.0]) * np.sin(1.5 * times)[:, None], atol=1e-9)


def test_the_strongest_wind_is_rarely_exceeded() -> None:
    wind = Wind((SPEED, 0.0, 0.0), (1.0, 0.0, 0.0), 1.0, gust_m_s=SIGMA, gust_seed=1)
    speeds = np.linalg.norm(WindField([QuadrotorTask(wind=wind)]).at(np.arange(0.0, 40.0, 0.01))[:, 0], axis=1)
    assert np.mean(speeds > np.linalg.norm(strongest(wind))) < 0.05


def test_impossible_winds_are_refused() -> None:
    for make in (
        lambda: Wind((np.nan, 0.0, 0.0)),
        lambda: Wind(gust_m_s=-1.0),
        lambda: Wall((1.0, 1.0, 0.0), 0.0),
        lambda: Wall((1, 0, 0), 0.0, 0.0),
    ):
        with pytest.raises(SignalError, match="wind|wall"):
            make()
