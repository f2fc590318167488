# SPDX-License-Identifier: Apache-2.0
"""Parts of flight controllers: attitude errors, the filter, the rotors' stage."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.control.low_pass import LowPass
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.attitude import tilt_and_yaw_error
from metarl_robot.robots.quadrotor.description import MotorModel, Quadrotor
from metarl_robot.robots.quadrotor.motor_lead import pace
from metarl_robot.robots.quadrotor.rotors import Rotors


def robot(name: str) -> Quadrotor:
    loaded = load_robot(name, check_model=False)
    assert isinstance(loaded, Quadrotor)
    return loaded


def test_tilt_and_yaw_errors_compose_to_the_whole_rotation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        q, target = (rotation.normalise(rng.standard_normal(4)) for _ in range(2))
        x, y, yaw = tilt_and_yaw_error(q, target)
        tilted = rotation.multiply(q, rotation.exp(np.array([x, y, 0.0])))
        assert np.allclose(rotation.up(tilted), rotation.up(target), atol=1e-9), "tilt alone points the thrust"
        whole = rotation.multiply(tilted, rotation.exp(np.array([0.0, 0.0, yaw])))
        assert np.isclose(abs(whole @ target), 1.0, atol=1e-9)
        assert np.hypot(x, y) <= np.pi and abs(yaw) <= np.pi


def test_the_error_of_upside_down_is_finite() -> None:
    for target in (rotation.exp(np.array([np.pi, 0.0, 0.0])), rotation.exp(np.array([0.0, np.pi, 0.0]))):
        error = tilt_and_yaw_error(rotation.IDENTITY, target)
        assert np.all(np.isfinite(error)) and np.isclose(np.linalg.norm(error[:2]), np.pi)


@pytest.mark.parametrize("cutoff", [5.0, 50.0])
def test_the_filter_passes_slow_signals_and_gives_their_derivative(cutoff: float) -> None:
    period, slow = 0.005, LowPass(cutoff)
    times = np.arange(0.0, 20.0, period)
    w = 0.05 * cutoff
    out = np.array([np.concatenate(slow.step(np.array([np.sin(w * t), 3.0]), period)) for t in times])[
        len(times) // 2 :
    ]
    # its delay, less that of holding the input after its sample
    late = times[len(times) // 2 :] - np.sqrt(2.0) / cutoff + 0.5 * period
    assert np.allclose(out[:, 0], np.sin(w * late), atol=0.01)
    assert np.allclose(out[:, 2], w * np.cos(w * late), atol=0.01 * w)
    assert np.allclose(out[:, [1, 3]], [3.0, 0.0], atol=1e-9)


def test_the_filter_does_not_depend_on_how_time_is_divided() -> None:
    whole, parts = LowPass(30.0), LowPass(30.0)
    for low in (whole, parts):
        low.step(np.zeros(1), 0.005)
    for dt in (0.002, 0.007, 0.001):
        divided = parts.step(np.ones(1), dt)
    assert np.allclose(divided, whole.step(np.ones(1), 0.010), rtol=1e-12)


def test_the_filter_halves_power_at_its_cut_off() -> None:
    period, cutoff = 0.001, 20.0
    low = LowPass(cutoff)
    times = np.arange(0.0, 10.0, period)
    out = np.array([low.step(np.array([np.sin(cutoff * t)]), period)[0][0] for t in times])
    assert np.isclose(np.sqrt(2 * np.mean(out[5000:] ** 2)), np.sqrt(0.5), rtol=0.02)


@pytest.mark.parametrize("name", ["x500", "crazyflie", "hummingbird"])
def test_overshooting_commands_make_motors_follow_with_the_shorter_lag(name: str) -> None:
    craft = robot(name)
    found = pace(craft, 0.01, 0.85)
    rotors, motors = Rotors(craft, found.speed_up), MotorModel(craft, craft.hover_thrust)
    wanted = 1.02 * craft.hover_thrust.sum()
    start, target = motors.speeds.mean(), craft.speeds(np.array(wanted / 4))
    tau, period = craft.motor_time_s[0], craft.control_period_s
    for k in range(1, 8):
        motors.advance(rotors.send(wanted, np.zeros(3)).effort, period)
        expected = target + (start - target) * np.exp(-found.speed_up * k * period / tau)
        assert np.allclose(motors.speeds, expected, rtol=1e-6)
        assert not rotors.short.any()
    rotors.send(wanted, np.zeros(3))
    assert np.allclose(rotors.thrusts, craft.thrusts_of(motors.speeds), rtol=0.01), "its model of the motors is theirs"


def test_motors_follow_their_lag_and_give_its_mean_thrust() -> None:
    craft, rng = robot("x500"), np.random.default_rng(0)
    motors = MotorModel(craft, craft.hover_thrust)
    up, down = craft.motor_time_s
    shares, weights = np.polynomial.legendre.leggauss(8)  # exact for these exponentials to rounding
    for _ in range(50):
        start, command, duration = (
            motors.speeds,
            rng.uniform(-0.5, 1.0, 4) * craft.effort_limit,
            rng.uniform(1e-4, 0.03),
        )
        target = craft.speeds(command)
        tau = np.where(target > start, up, down)
        passed = 0.5 * duration * (1.0 + shares)[:, None]
        thrusts = craft.thrusts_of(target + (start - target) * np.exp(-passed / tau))
        assert np.allclose(motors.advance(command, duration), 0.5 * weights @ thrusts, rtol=1e-11)
        assert np.allclose(motors.speeds, target + (start - target) * np.exp(-duration / tau), rtol=1e-14)


def test_motors_are_made_as_fast_as_delays_are_and_no_faster() -> None:
    for name in ("x500", "crazyflie", "hummingbird"):
        craft = robot(name)
        found = pace(craft, 0.01, 1.0)
        delay = 0.01 + 1.5 * craft.control_period_s
        tau = np.mean(craft.motor_time_s)
        assert found.speed_up >= 1.0
        assert np.isclose(found.lag_s, delay + tau / found.speed_up)
        assert np.isclose(tau / found.speed_up, min(tau, delay))


def test_what_rotors_cannot_give_is_known_axis_by_axis() -> None:
    craft = robot("x500")
    rotors = Rotors(craft, 1.0)
    weight = float(craft.hover_thrust.sum())
    rotors.send(weight, np.array([0.1, -0.1, 0.01]))
    assert not rotors.short.any()
    rotors.send(weight, np.array([0.1, -0.1, 50.0]))
    assert rotors.short.tolist() == [False, False, False, True], "yaw is given up first"
    rotors.send(2.0 * float(craft.effort_limit.sum()), np.zeros(3))
    assert rotors.short.tolist() == [True, False, False, False]
    rotors.send(weight, np.array([100.0, 0.0, 0.0]))
    assert rotors.short[1]


def test_a_blind_robot_goes_on_with_about_its_weight() -> None:
    craft = robot("x500")
    weight = float(craft.hover_thrust.sum())
    for before, after in ((0.0, 0.7), (1.1, 1.1), (2.0, 1.4)):
        rotors = Rotors(craft, 1.0)
        rotors.send(before * weight, np.array([0.2, 0.0, 0.0]))
        thrusts = rotors.level("blind").effort
        assert np.isclose(thrusts.sum(), after * weight, rtol=1e-3)
        assert np.allclose(craft.allocation[1:] @ thrusts, 0.0, atol=1e-9)


def test_thrust_gives_way_to_yaw_torque_only_where_it_spins() -> None:
    craft = robot("x500")
    most, torque = float(craft.effort_limit.sum()), np.array([0.0, 0.0, 0.05])
    rotors = Rotors(craft, 1.0)
    for spin, share in ((0.0, 0.0), (2.0 * craft.velocity_limit[5], 1.0)):
        rotors.seen(rotation.IDENTITY, np.array([0.0, 0.0, spin]))
        rotors.send(most, torque)
        assert rotors.short[0] == (share > 0.0) and rotors.short[3] == (share == 0.0)
    within = craft.thrusts(most, np.array([3.0, 0.0, 0.05]), yaw_reserve=0.15)
    assert np.allclose(
        (craft.allocation @ within)[1], (craft.allocation @ craft.thrusts(0.0, np.array([3.0, 0, 0])))[1]
    )
    assert np.all((within >= craft.effort_lower - 1e-12) & (within <= craft.effort_limit + 1e-12))


def test_a_blind_robot_upside_down_does_not_push_itself_down() -> None:
    craft = robot("x500")
    rotors = Rotors(craft, 1.0)
    rotors.seen(rotation.exp(np.array([3.0, 0.0, 0.0])), np.zeros(3))
    rotors.send(0.0, np.zeros(3))
    assert np.allclose(rotors.level("blind").effort, craft.effort_lower)
