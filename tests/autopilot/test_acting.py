# SPDX-License-Identifier: Apache-2.0
"""The thrusts that adapters are told of: measured while the autopilot flies by itself, else those of the setpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.autopilot.commander import Commander, Settings
from metarl_robot.robots.quadrotor.autopilot.measured_thrusts import MeasuredThrusts
from metarl_robot.robots.quadrotor.autopilot.offboard import Phase, Vehicle
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from tests.multirotors import NAMES, multirotor

ROBOT = load_robot("x500", check_model=False)
WEIGHT_N = ROBOT.mass_kg * GRAVITY_M_S2
PERIOD_S, IMU_S = 0.005, 0.0005
REST = Inertial(np.array([0.0, 0.0, GRAVITY_M_S2]), np.zeros(3))
OWN, OURS = Vehicle(True, False, "AUTO.LOITER"), Vehicle(True, True, "OFFBOARD")


def test_the_thrusts_of_a_motion_are_found_from_its_forces_and_rates() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        thrusts = ROBOT.hover_thrust * rng.uniform(0.85, 1.15, 4)
        collective, *torque = ROBOT.allocation @ thrusts
        rate, measured = rng.normal(0.0, 0.5, 3), MeasuredThrusts(ROBOT)
        measured.observe(Inertial(np.array([0.3, -0.2, collective / ROBOT.mass_kg]), rate), IMU_S)
        measured.take()
        for _ in range(round(PERIOD_S / IMU_S)):
            turning = torque - rotation.cross(rate, ROBOT.inertia @ rate)
            rate = rate + IMU_S * np.linalg.solve(ROBOT.inertia, turning)
            measured.observe(Inertial(np.array([0.0, 0.0, collective / ROBOT.mass_kg]), rate), IMU_S)
        assert measured.take() == pytest.approx(thrusts, rel=1e-2)


def test_a_hover_and_rest_on_the_ground_give_the_hover_thrust() -> None:
    measured = MeasuredThrusts(ROBOT)
    assert measured.take() == pytest.approx(ROBOT.hover_thrust)  # nothing is known yet
    for _ in range(3):
        measured.observe(REST, PERIOD_S)
        assert measured.take() == pytest.approx(ROBOT.hover_thrust)
    measured.observe(Inertial(1.2 * REST.specific_force, np.zeros(3)), PERIOD_S)
    for _ in range(2):  # without a new measurement the last one is kept
        assert measured.take() == pytest.approx(1.2 * ROBOT.hover_thrust)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e6, 1e6])
def test_impossible_measurements_give_thrusts_within_the_limits(wrong: float) -> None:
    measured = MeasuredThrusts(ROBOT)
    measured.observe(REST, PERIOD_S)
    measured.take()
    for inertial in (Inertial(np.full(3, wrong), np.zeros(3)), Inertial(REST.specific_force, np.full(3, wrong))):
        measured.observe(inertial, PERIOD_S)
        thrusts = measured.take()
        assert np.isfinite(thrusts).all()
        assert (thrusts >= ROBOT.effort_lower).all() and (thrusts <= ROBOT.effort_limit).all()


class Flight:
    """A commander with a state and an IMU, answered by one command a period."""

    def __init__(self, robot: Quadrotor = ROBOT) -> None:
        self.commander, self.step = Commander(robot, Settings()), 0
        self.commander.flying = True

    def run(self, seconds: float, vehicle: Vehicle, thrusts: np.ndarray, force_m_s2: float) -> np.ndarray:
        """The thrusts that acted last."""
        for _ in range(round(seconds / PERIOD_S)):
            self.step += 1
            now_s, stamp_ns = self.step * PERIOD_S, round(self.step * PERIOD_S * 1e9)
            self.commander.report(now_s, vehicle)
            self.commander.state(stamp_ns, State(ROBOT.home, np.zeros(6)))
            self.commander.inertial(now_s, stamp_ns, Inertial(np.array([0.0, 0.0, force_m_s2]), np.zeros(3)))
            self.commander.setpoint(now_s, stamp_ns, stamp_ns, thrusts)
            acting = self.commander.acting()
        return acting


def test_commands_that_do_not_act_are_not_taken_for_thrust() -> None:
    flight = Flight()
    acting = flight.run(1.0, OWN, 1.5 * ROBOT.hover_thrust, GRAVITY_M_S2)
    assert flight.commander.offboard.phase is Phase.STREAMING
    assert acting == pytest.approx(ROBOT.hover_thrust)


def test_setpoints_that_are_followed_act_by_the_curve_that_is_learned_from_them() -> None:
    flight, thrusts = Flight(), ROBOT.hover_thrust * np.array([1.5, 1.7, 1.6, 1.6])
    flight.run(0.1, OWN, thrusts, GRAVITY_M_S2)
    first = flight.run(PERIOD_S, OURS, thrusts, 1.2 * GRAVITY_M_S2)
    assert flight.commander.offboard.phase is Phase.ENGAGED
    assert first.sum() == pytest.approx(1.6 * WEIGHT_N, rel=0.05)
    settled = flight.run(4.0, OURS, thrusts, 1.2 * GRAVITY_M_S2)  # all that a weak battery gives
    assert settled.sum() == pytest.approx(1.2 * WEIGHT_N, rel=0.05)
    assert settled - settled.mean() == pytest.approx(thrusts - thrusts.mean())
    flight.run(0.1, OWN, thrusts, GRAVITY_M_S2)
    assert flight.commander.offboard.phase is Phase.HANDED_BACK
    assert flight.run(0.1, OWN, thrusts, GRAVITY_M_S2) == pytest.approx(ROBOT.hover_thrust)


@pytest.mark.parametrize("name", NAMES)
def test_with_more_rotors_the_missing_force_is_that_of_the_curve_without_torque(name: str, tmp_path: Path) -> None:
    robot = multirotor(name, tmp_path)
    flight, thrusts = Flight(robot), 1.3 * robot.hover_thrust
    flight.run(0.1, OWN, thrusts, GRAVITY_M_S2)
    settled = flight.run(4.0, OURS, thrusts, 1.1 * GRAVITY_M_S2)  # all that a weak battery gives
    force_n = flight.commander.curve.collective_n(flight.commander._thrust)
    assert robot.collective(settled) == pytest.approx(force_n) and force_n < 0.95 * robot.collective(thrusts)
    assert robot.allocation[1:] @ (settled - thrusts) == pytest.approx(np.zeros(3), abs=1e-6)
