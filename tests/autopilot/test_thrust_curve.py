# SPDX-License-Identifier: Apache-2.0
"""The learned thrust curve: known curves, bounds, and the height that a wrong gain costs in flight."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint, rate_loop_s, rate_setpoint
from metarl_robot.robots.quadrotor.autopilot.thrust_curve import HIGHEST_HOVER, LOWEST_HOVER, ThrustCurve
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2
from metarl_robot.robots.quadrotor.trajectories import Hover
from tests.autopilot.vehicle import OFFBOARD, STEP_S, Vehicle

ROBOT = load_robot("x500", check_model=False)
FULL_N, WEIGHT_N = float(ROBOT.effort_limit.sum()), ROBOT.mass_kg * GRAVITY_M_S2


def learn(
    curve: ThrustCurve, share: Callable[[float], float], seconds: float, noise: float = 1.0, spread: float = 0.0
) -> None:
    """Hover, with thrusts that vary by `spread` of the weight, on an autopilot whose force is share(s) F_max."""
    rng = np.random.default_rng(0)
    for k in range(round(seconds / STEP_S)):
        thrust = curve.normalised(WEIGHT_N * (1.0 + spread * np.sin(0.9 * k * STEP_S)))
        force = share(thrust) * FULL_N / ROBOT.mass_kg + noise * rng.normal()
        curve.observe(thrust, force, STEP_S, flying=True)


CURVES = {
    "linear": lambda s: s,
    "quadratic": lambda s: s * s,
    "PX4 in simulation": lambda s: (0.15 + 0.85 * s) ** 2,
    "weak battery": lambda s: 0.8 * (0.15 + 0.85 * s) ** 2,
    "strong motors": lambda s: 1.6 * s * s,
}


@pytest.mark.parametrize("name", CURVES)
def test_the_hover_thrust_of_any_curve_is_learned(name: str) -> None:
    share, curve = CURVES[name], ThrustCurve(ROBOT)
    learn(curve, share, 6.0)
    assert share(curve.hover_thrust) * FULL_N == pytest.approx(WEIGHT_N, rel=0.02)
    assert curve.hover_std < 0.06


def test_a_flight_that_varies_its_thrust_learns_the_slope_too() -> None:
    share = CURVES["quadratic"]
    steady, varied = ThrustCurve(ROBOT), ThrustCurve(ROBOT)
    learn(steady, share, 30.0)
    learn(varied, share, 30.0, spread=0.4)

    def error(curve: ThrustCurve) -> float:
        return abs(share(curve.normalised(1.4 * WEIGHT_N)) * FULL_N / WEIGHT_N - 1.4)

    assert error(varied) < 0.03 and error(varied) < 0.6 * error(steady), (error(varied), error(steady))


def test_normalised_and_collective_are_inverse() -> None:
    for start in (None, 0.25, 0.5, 0.8):
        curve = ThrustCurve(ROBOT, start)
        for thrust in (0.0, 0.1, 0.4, 0.8, 1.0):
            assert curve.normalised(curve.collective_n(thrust)) == pytest.approx(thrust, abs=1e-12)
        if start is not None:
            assert curve.hover_thrust == pytest.approx(start)
    assert ThrustCurve(ROBOT).normalised(-3.0) == 0.0 and ThrustCurve(ROBOT).normalised(1e9) == 1.0


def test_nothing_is_learned_on_the_ground_or_from_numbers_that_are_not_finite() -> None:
    curve, before = ThrustCurve(ROBOT), ThrustCurve(ROBOT).coefficients
    for _ in range(500):
        curve.observe(0.3, GRAVITY_M_S2, STEP_S, flying=False)
        curve.observe(0.6, np.nan, STEP_S, flying=True)
        curve.observe(np.inf, 9.0, STEP_S, flying=True)
    assert curve.coefficients == pytest.approx(before)


@pytest.mark.parametrize("force", [-100.0, 0.0, 1e4])
def test_impossible_measurements_leave_a_curve_within_its_bounds(force: float) -> None:
    curve = ThrustCurve(ROBOT)
    for _ in range(2000):
        curve.observe(0.6, force, STEP_S, flying=True)
    assert LOWEST_HOVER - 1e-9 <= curve.hover_thrust <= HIGHEST_HOVER + 1e-9
    thrusts = [curve.normalised(share * FULL_N) for share in (0.1, 0.2, 0.4, 0.6)]
    assert np.all(np.diff(thrusts) >= 0.0) and thrusts[0] < thrusts[-1]


def test_a_start_value_out_of_range_is_refused() -> None:
    with pytest.raises(SignalError, match="MPC_THR_HOVER"):
        ThrustCurve(ROBOT, 1.3)


class Flight:
    """A controller without integral, thrusts to rate setpoints, and the stand-in's rate loop; in simulated time."""

    def __init__(self, learns: bool) -> None:
        self.vehicle, self.curve, self.learns = Vehicle(), ThrustCurve(ROBOT, 0.55), learns
        self.vehicle.mode = OFFBOARD
        without = load_config(ROBOT, "se3").model_copy(update={"position_integral": 0.0, "attitude_integral": 0.0})
        self.controller = make_controller(ROBOT, "se3", without)
        self.reference = Hover(self.vehicle.state.q[:3].copy())

    def fly(self, seconds: float) -> float:
        """Mean height error over the last second [m]."""
        errors = []
        for _ in range(round(seconds / STEP_S)):
            vehicle = self.vehicle
            state = vehicle.state
            setpoint = self._setpoint(state)
            vehicle.offer(setpoint.rates, setpoint.thrust)
            vehicle.advance()
            if self.learns and vehicle.state.specific_force is not None:
                self.curve.observe(setpoint.thrust, float(vehicle.state.specific_force[2]), STEP_S, flying=True)
            errors.append(float(vehicle.state.q[2] - self.reference.sample(np.zeros(1)).q[0, 2]))
        return float(np.mean(errors[-round(1.0 / STEP_S) :]))

    def _setpoint(self, state: State) -> RateSetpoint:
        command = self.controller.step(self.vehicle.time_s, state, self.reference)
        return rate_setpoint(ROBOT, self.curve, state, command.effort, rate_loop_s(ROBOT))


def test_a_fixed_gain_costs_height_and_a_learned_one_does_not_also_when_the_battery_sags() -> None:
    fixed, learned = Flight(learns=False), Flight(learns=True)
    fixed_m, learned_m = fixed.fly(4.0), learned.fly(4.0)
    for flight in (fixed, learned):
        flight.vehicle.set_battery(0.85)
    fixed_sag_m, learned_sag_m = fixed.fly(5.0), learned.fly(5.0)
    print(f"height error: fixed {100 * fixed_m:.1f}, {100 * fixed_sag_m:.1f} cm after the sag; learned "
          f"{100 * learned_m:.1f}, {100 * learned_sag_m:.1f} cm")  # fmt: skip
    assert abs(fixed_m) > 0.08 and abs(fixed_sag_m) > 0.15
    assert abs(learned_m) < 0.02 and abs(learned_sag_m) < 0.02
