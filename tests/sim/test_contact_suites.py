# SPDX-License-Identifier: Apache-2.0
"""Suites contact and overload of arms: the force that acts, its release, and the row of an episode."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.sim.arm.contact_suites import CONTACT_SUITES
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.evaluate import run_one
from metarl_robot.sim.kinds import simulation

PANDA = load_robot("panda")
KINDS = [(suite, kind) for suite in CONTACT_SUITES.names() for kind in CONTACT_SUITES.kinds(suite)]


@pytest.mark.parametrize(("suite", "kind"), KINDS)
def test_a_draw_depends_on_its_seed_alone(suite: str, kind: str) -> None:
    room = simulation(PANDA)
    first, again, other = (room.scenario(suite, kind, seed) for seed in (0, 0, 1))
    assert first.initial.to_dict() == again.initial.to_dict() and first.noise_seed == again.noise_seed
    assert first.noise_seed != other.noise_seed
    times = np.linspace(0.0, first.duration_s, 200)
    points = first.reference.sample(times)
    np.testing.assert_array_equal(points.q, again.reference.sample(times).q)
    assert np.all(np.abs(points.v) <= PANDA.velocity_limit)
    assert first.released_s is not None and first.duration_s == pytest.approx(first.released_s + 5.0)
    for task in (first.initial, *(task for _, task in first.changes)):
        assert Task.from_dict(task.to_dict()).to_dict() == task.to_dict()


def test_other_suites_have_no_obstacle() -> None:
    assert simulation(PANDA).scenario("heldout", "pickup", 0).initial.obstacle is None


def test_a_push_ends_when_it_is_released() -> None:
    run = simulation(PANDA).scenario("contact", "tap", 3)
    (begun_s, pushed), (ended_s, free) = run.changes
    assert ended_s - begun_s == 0.5 and ended_s == run.released_s
    assert 0.5 * 29.43 <= np.linalg.norm(pushed.push_n) <= 29.43 and free.push_n is None


def test_an_overload_needs_more_than_the_efforts() -> None:
    run = simulation(PANDA).scenario("overload", "stretched", 0)
    loaded, room = run.changes[0][1], simulation(PANDA)
    assert 1.0 < room.effort_use(loaded, run.reference, 1.0, 2.0) < 1.25
    assert room.effort_use(run.initial, run.reference, 0.0, 1.0) < 0.85
    assert room.effort_use(loaded, run.reference, run.released_s + 0.1, run.duration_s) < 0.86


@pytest.mark.slow
def test_a_row_shows_force_limits_and_the_wrench() -> None:
    row = run_one(PANDA, "contact", "table", 0, "meta_mpc").result.to_dict()
    assert row["peak_contact_n"] > 5.0 and row["velocity_violations"] == 0 and row["external_wrench_s"] > 0.5
    assert abs(row["payload_mass_error_kg"]) < 0.3
    assert row["rmse_after_m"] < 1e-4
