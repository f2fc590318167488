# SPDX-License-Identifier: Apache-2.0
"""A force that may be a contact is compensated up to a bound; a payload that is picked up, in full."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_robot as mr
from metarl_robot.adaptation.undecided_force import (
    AGAINST,
    BEGINS,
    BODY_S,
    DECIDES_S,
    IMPACT_S,
    LIGHT_S,
    MODERATE_SHARE,
    SLOW_SHARE,
    UndecidedForce,
)

DT, UNIT, LIMIT = 0.005, np.array([0.2, 0.1]), np.full(2, 2.0)
FORCE = 40.0 * UNIT / np.sqrt(2.0)
"""(2,) of 40 units."""
STILL = np.zeros(2)


def compensated(
    force: np.ndarray,
    v: np.ndarray = STILL,
    duration_s: float = 0.03,
    tested: bool = False,
    unlike_body: float = 1.0,
    undecided: UndecidedForce | None = None,
) -> float:
    """The compensated size of a force, in units, after it has acted for a time on a robot that moved with v."""
    law = undecided or UndecidedForce(LIMIT)
    state = mr.State(STILL, v)
    for _ in range(40):
        law.withheld(STILL, UNIT, False, lambda: STILL, state, DT)
    for _ in range(round(duration_s / DT)):
        left = law.withheld(force, UNIT, tested, lambda: unlike_body * force, state, DT)
    return float(np.linalg.norm((force - left) / UNIT))


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_force_that_builds_up_on_a_slow_robot_is_bounded(direction: float) -> None:
    assert compensated(direction * FORCE) == pytest.approx(BEGINS, rel=0.05)
    later = compensated(direction * FORCE, duration_s=0.5 * LIGHT_S)
    assert later == pytest.approx(BEGINS * np.exp(0.5), rel=0.05)


def test_it_is_compensated_soon_where_a_body_explains_it() -> None:
    assert compensated(FORCE, duration_s=2.0 * BODY_S, unlike_body=0.1) == pytest.approx(40.0)


def test_a_payload_that_is_picked_up_at_rest_is_compensated_at_once() -> None:
    assert compensated(FORCE, tested=True) == pytest.approx(40.0)


def test_a_small_force_is_compensated_in_full() -> None:
    small = 0.9 * BEGINS / 40.0 * FORCE
    assert compensated(small, duration_s=1.0) == pytest.approx(0.9 * BEGINS)


def test_an_impact_against_the_motion_is_bounded_for_some_hundredths_of_a_second() -> None:
    v = -0.5 * (SLOW_SHARE + MODERATE_SHARE) * 2.0 * FORCE / np.max(FORCE)
    assert compensated(FORCE, v, duration_s=0.5 * IMPACT_S, tested=True) < 2.0 * BEGINS
    assert compensated(FORCE, v, duration_s=3.0 * IMPACT_S, tested=True) == pytest.approx(40.0)
    assert compensated(FORCE, v) == pytest.approx(40.0), "friction rises without a detected change"
    assert compensated(FORCE, -v, tested=True) == pytest.approx(40.0), "an obstacle never drives a robot"
    across = np.array([-v[1], v[0]])
    assert AGAINST < 0.0 and compensated(FORCE, across, tested=True) == pytest.approx(40.0)
    assert compensated(FORCE, 3.0 * v, tested=True) == pytest.approx(40.0), "a fast robot's model may be wrong"


def test_what_is_compensated_never_exceeds_the_force_and_points_along_it() -> None:
    law, rng, state = UndecidedForce(LIMIT), np.random.default_rng(0), mr.State(STILL, STILL)
    for _ in range(500):
        force = rng.normal(0.0, 20.0, 2) * UNIT
        left = law.withheld(force, UNIT, bool(rng.random() < 0.2), lambda force=force: force, state, DT)
        share = left / force
        assert share[0] == pytest.approx(share[1]) and 0.0 <= share[0] < 1.0


def test_the_force_on_a_robot_that_moves_on_is_compensated_in_full() -> None:
    law = UndecidedForce(LIMIT)
    assert compensated(FORCE, undecided=law) < 2.0 * BEGINS
    moving = mr.State(STILL, np.full(2, 3.0 * SLOW_SHARE * 2.0))
    for _ in range(10):
        left = law.withheld(FORCE, UNIT, False, lambda: FORCE, moving, DT)
    assert not left.any() and not law.bounded


def test_the_bound_returns_after_the_force_has_ended() -> None:
    law = UndecidedForce(LIMIT)
    compensated(FORCE, duration_s=0.5 * LIGHT_S, undecided=law)
    assert law.bounded
    law.withheld(STILL, UNIT, False, lambda: STILL, mr.State(STILL, STILL), DT)
    assert not law.bounded
    for _ in range(200):
        law.withheld(STILL, UNIT, False, lambda: STILL, mr.State(STILL, STILL), DT)
    assert DECIDES_S < 0.03 and compensated(FORCE, undecided=law) == pytest.approx(BEGINS, rel=0.05)
