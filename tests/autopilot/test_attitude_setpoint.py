# SPDX-License-Identifier: Apache-2.0
"""An attitude setpoint makes PX4's attitude loop command the rates that the thrusts ask for."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.autopilot.attitude_setpoint import MOST_RAD, AttitudeGains, attitude_setpoint
from metarl_robot.robots.quadrotor.autopilot.commander import Commander, Settings
from metarl_robot.robots.quadrotor.autopilot.offboard import Vehicle
from tests.autopilot.attitude_loop import MC_ROLL_P, MC_YAW_P, attitude_rates

GAINS = AttitudeGains(MC_ROLL_P, MC_YAW_P)
ROBOT = load_robot("x500", check_model=False)


def attitudes(seed: int, count: int = 50) -> np.ndarray:
    return rotation.normalise(np.random.default_rng(seed).normal(size=(count, 4)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rates_about_one_axis_come_back_from_the_autopilots_loop(axis: int) -> None:
    for q in attitudes(axis):
        for size in (-2.0, -0.1, 0.3, 1.5):
            rates = size * np.eye(3)[axis]
            got = attitude_rates(q, attitude_setpoint(q, np.zeros(3), rates, GAINS, 0.0))
            # the share of yaw makes the loop's answer to it a sine of a share of the angle
            np.testing.assert_allclose(got, rates, atol=0.06 * abs(size) if axis == 2 else 1e-9)


def test_rates_about_all_axes_come_back_nearly() -> None:
    rng = np.random.default_rng(3)
    for q in attitudes(4):
        rates = rng.uniform([-2.0, -2.0, -0.5], [2.0, 2.0, 0.5])
        got = attitude_rates(q, attitude_setpoint(q, np.zeros(3), rates, GAINS, 0.0))
        assert np.linalg.norm(got - rates) < 0.05 * np.linalg.norm(rates) + 0.05


def test_an_old_attitude_is_turned_on_and_the_way_to_the_setpoint_is_bounded() -> None:
    q, rate = attitudes(5)[0], np.array([0.4, -0.3, 0.2])
    later = rotation.integrate(q, rate, 0.02)
    made = attitude_setpoint(q, rate, np.zeros(3), GAINS, 0.02)
    assert abs(float(made @ later)) == pytest.approx(1.0, abs=1e-12)
    far = attitude_setpoint(q, np.zeros(3), np.array([100.0, -50.0, 20.0]), GAINS, 0.0)
    assert np.linalg.norm(rotation.error(q, far)) == pytest.approx(2.0 * np.arcsin(0.5 * MOST_RAD), rel=1e-6)


def test_it_is_made_of_the_thrusts_that_passed_the_gate() -> None:
    """As the rates are; a commander without gains makes none."""
    level = State(np.array([0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0]), np.zeros(6))
    thrusts = ROBOT.thrusts(ROBOT.mass_kg * 9.81, np.array([0.05, -0.02, 0.0]))
    made = {}
    for gains in (None, GAINS):
        commander = Commander(ROBOT, Settings(attitude_gains=gains))
        commander.report(0.0, Vehicle(False, False, "HOLD"))
        commander.state(10**9, level)
        made[gains] = commander.setpoint(0.0, 10**9, 10**9, thrusts)
    assert made[None].attitude is None
    np.testing.assert_array_equal(made[GAINS].rates, made[None].rates)
    np.testing.assert_allclose(
        attitude_rates(level.q[3:], made[GAINS].attitude), made[GAINS].rates, rtol=0.01, atol=1e-9
    )
