# SPDX-License-Identifier: Apache-2.0
"""Friction that changes its sign where a joint turns round is told from other forces."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.adaptation.reversals import JUST_S, Reversals

LIMIT, DT = np.array([2.0, 2.0]), 0.005
FORCE = np.array([-3.0, -3.0])


def after(first: float, second: float, seconds: float) -> Reversals:
    """The first joint moves at one speed, then at another; the second joint moves on."""
    reversals = Reversals(LIMIT)
    for speed, duration_s in ((first, 1.0), (second, seconds)):
        for _ in range(round(duration_s / DT)):
            reversals.update(np.array([speed, 0.5]), DT)
    return reversals


def test_a_force_that_brakes_a_joint_that_has_just_turned_round_may_be_its_friction() -> None:
    v = np.array([0.3, 0.5])
    np.testing.assert_array_equal(after(-0.3, 0.3, 0.1).without_friction(FORCE, v), [0.0, -3.0])


@pytest.mark.parametrize(
    ("first", "second", "seconds", "case"),
    [
        (-0.3, 0.3, JUST_S + 0.01, "long ago"),
        (0.3, -0.3, 0.1, "the force drives the new motion, as that of an obstacle does"),
        (0.3, 0.1, 0.1, "slower, in the same direction"),
        (0.3, 0.001, 0.1, "stopped by an obstacle"),
        (-0.001, 0.001, 0.1, "noise at rest"),
    ],
)
def test_other_forces_stay(first: float, second: float, seconds: float, case: str) -> None:
    left = after(first, second, seconds).without_friction(FORCE, np.array([second, 0.5]))
    np.testing.assert_array_equal(left, FORCE, err_msg=case)
