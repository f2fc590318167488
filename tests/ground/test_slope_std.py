# SPDX-License-Identifier: Apache-2.0
"""Reported standard deviations of slopes: small where the estimate has settled, large while it moves."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.adaptation.unexplained_force import STD_CALIBRATION
from metarl_robot.robots.ground.context_names import FRICTION, SLOPES
from metarl_robot.robots.ground.slope_std import BY_MOTION, MOVING_S, SETTLED, SlopeStd

NAMES = (FRICTION, *SLOPES)
FILTERS = np.array([0.3, 0.02, 0.03])
DT = 0.01


def test_a_settled_slope_has_a_small_deviation_and_other_entries_keep_theirs() -> None:
    slope_std = SlopeStd(NAMES)
    for friction in np.linspace(0.0, 1.0, 300):
        slope_std.follow(np.array([friction, 0.05, -0.02]), DT)
    found = slope_std.of(STD_CALIBRATION * FILTERS)
    np.testing.assert_allclose(found, [STD_CALIBRATION * 0.3, SETTLED * 0.02, SETTLED * 0.03])


def test_a_slope_that_moves_at_a_constant_rate_is_uncertain_by_that_rate() -> None:
    """The mean of the last second lags by MOVING_S times the rate."""
    slope_std, rate = SlopeStd(NAMES), np.array([0.02, 0.01])
    for k in range(1000):
        slope_std.follow(np.array([0.0, *(k * DT * rate)]), DT)
    lag = BY_MOTION * MOVING_S**2 * float(np.mean(rate**2))
    expected = np.sqrt(np.square(SETTLED * FILTERS[1:]) + lag)
    np.testing.assert_allclose(slope_std.of(STD_CALIBRATION * FILTERS)[1:], expected, rtol=0.02)


def test_a_context_without_slopes_is_reported_as_it_is() -> None:
    slope_std = SlopeStd((FRICTION,))
    slope_std.follow(np.array([0.1]), DT)
    assert slope_std.of(np.array([0.4])) == pytest.approx(0.4)
