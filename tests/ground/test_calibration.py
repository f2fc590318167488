# SPDX-License-Identifier: Apache-2.0
"""Calibration of a vehicle's estimates: the filter and the exact posterior on recorded motions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.quantities import quantities
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.robots.ground.body_filter import BodyFilter
from metarl_robot.sim.batch_posterior import BatchPosterior
from metarl_robot.sim.calibration import calibrate, draws, summary
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.recorded_motion import Driven


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("f1tenth")


@pytest.fixture(scope="module")
def rows(robot: Robot) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    calibrate(robot, "heldout", draws(robot, "heldout", 3, 1000), 1, found.append)
    return found


def test_every_quantity_of_the_ground_has_an_error_and_a_deviation(robot: Robot, rows: list[dict[str, Any]]) -> None:
    names = {quantity.name for quantity in quantities(robot)}
    for row in rows:
        assert {(each["quantity"], each["after_s"]) for each in row["estimates"]} == {
            (name, after_s) for name in names for after_s in (1.0, 4.0)
        }
        for each in row["estimates"]:
            numbers = [each[key] for key in ("error", "std", "exact_error", "exact_std", "use")]
            assert np.isfinite(numbers).all() and min(each["std"], each["exact_std"]) > 0.0
            assert 0.0 < each["use"] < 1.2


def test_coverage_is_finite_and_split_by_the_share_of_the_friction_used(rows: list[dict[str, Any]]) -> None:
    lines = summary(rows)
    assert all(np.isfinite([line["within_2_sigma"], line["sharpness"]]).all() for line in lines)
    friction = [line for line in lines if line["quantity"] == "friction_ratio" and line["after_s"] == 1.0]
    counts = {line["kind"]: line["count"] for line in friction}
    assert counts[""] == 3 == counts["use ≥ 80 %"] + counts["use < 80 %"]


def test_the_exact_posterior_is_of_the_filters_own_class(robot: Robot) -> None:
    filter_: Any = make_controller(robot, "meta_mpc").inner.adapter.inner  # type: ignore[attr-defined]
    assert isinstance(BatchPosterior.like(filter_), BodyFilter)


def test_a_driven_circle_uses_its_centripetal_acceleration(robot: Robot) -> None:
    radius_m, speed_m_s, friction = 2.0, 3.0, 0.8
    times = np.arange(0.0, 4.0, 0.01)
    angle = speed_m_s / radius_m * times
    q = np.column_stack([radius_m * np.cos(angle), radius_m * np.sin(angle), angle + 0.5 * np.pi])
    v = np.column_stack([-speed_m_s * np.sin(angle), speed_m_s * np.cos(angle), np.full_like(angle, 1.5)])
    driven, needed = Driven(times, q, v), speed_m_s**2 / radius_m / (friction * 9.81)
    used = simulation(robot).effort_use(GroundTask(friction=friction), driven, 1.0, 3.0)
    assert used == pytest.approx(needed, rel=0.01)
    up_m = 0.1
    sloped = GroundTask(friction=friction, slope_rad=np.array([np.arctan(up_m), 0.0]))
    more = simulation(robot).effort_use(sloped, driven, 0.0, 4.0)  # somewhere on the circle both point the same way
    assert more == pytest.approx(needed + up_m / friction, rel=0.02)
