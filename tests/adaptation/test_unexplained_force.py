# SPDX-License-Identifier: Apache-2.0
"""The scale of the reported standard deviations follows from the force that the context does not explain."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.adaptation.unexplained_force import (
    BY_FORCE,
    LARGEST_FORCE,
    LARGEST_REPORTED,
    LEAST_VARIANCE,
    STD_CALIBRATION,
    UnexplainedForce,
)

USUAL = np.array([0.5, 0.1])


def _after(share: float, seconds: float = 10.0) -> UnexplainedForce:
    """After a force of this multiple of the usual one, in all joints."""
    unexplained = UnexplainedForce(USUAL)
    for _ in range(round(seconds / 0.005)):
        unexplained.measure(share * USUAL * [1.0, -1.0], 0.005)
    return unexplained


@pytest.mark.parametrize("share", [0.0, 1.0, 4.0, 9.0])
def test_the_reported_variance_grows_with_the_square_of_the_force(share: float) -> None:
    assert _after(share).std_factor ** 2 == pytest.approx(LEAST_VARIANCE + BY_FORCE * share**2, rel=1e-3)


def test_forgetting_sees_less_of_a_large_force_than_the_report() -> None:
    unexplained = _after(2.0 * LARGEST_FORCE)
    assert unexplained.mean_square == pytest.approx(LARGEST_FORCE**2, rel=1e-3)
    assert unexplained.std_factor > 1.5 * _after(LARGEST_FORCE).std_factor


def test_one_impact_is_bounded_and_passes() -> None:
    struck = _after(1e6, 0.01)
    assert struck.std_factor**2 < LEAST_VARIANCE + BY_FORCE * (1.0 + 0.01 * LARGEST_REPORTED**2)
    for _ in range(2000):
        struck.measure(np.zeros(2), 0.005)
    assert struck.std_factor**2 == pytest.approx(LEAST_VARIANCE, rel=1e-3)


def test_a_force_that_is_not_measured_leaves_a_fixed_factor() -> None:
    unexplained = UnexplainedForce(None)
    unexplained.measure(np.full(2, 100.0), 1.0)
    assert unexplained.std_factor == STD_CALIBRATION
