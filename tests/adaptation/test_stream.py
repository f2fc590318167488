# SPDX-License-Identifier: Apache-2.0
"""Estimators on the stream of samples, each on signals with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.euclidean_tuning import filter_tuning
from metarl_robot.adaptation.stream.command_history import (
    LATENCIES,
    LONGEST_LATENCY,
    CommandHistory,
    command_history,
)
from metarl_robot.adaptation.stream.effort_noise import EffortNoise, effort_noise
from metarl_robot.adaptation.stream.sensor_noise import SensorNoise, sensor_noise
from metarl_robot.adaptation.stream.smooth import CompiledSmooth, Smooth, smooth
from metarl_robot.adaptation.stream.velocity_noise import VelocityNoise, velocity_noise
from metarl_robot.adaptation.stream.whiteness import Whiteness, whiteness
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics

Array = NDArray[np.float64]

PERIOD_S = 0.005


def _commands(count: int) -> Array:
    return np.cumsum(np.random.default_rng(0).standard_normal((count, 2)), axis=0)


def _acted(commands: Array, k: int, latency_s: float, dt: float = PERIOD_S) -> Array:
    """The mean command over the period that ends with sample k + 1, with times in periods."""
    times = np.linspace(k * PERIOD_S, k * PERIOD_S + dt, 1001)[:-1] + 0.5e-3 * dt - latency_s
    return commands[np.clip(np.floor(times / PERIOD_S).astype(int), 0, k)].mean(axis=0)


@pytest.mark.parametrize("latency_s", [0.0, 0.004, 0.011, 0.022])
def test_latency_is_learned_from_its_effects(latency_s: float) -> None:
    """An integrator with noise moves as the delayed command says; the history finds the delay and the force."""
    commands, rng, noise = _commands(300), np.random.default_rng(1), 0.2
    history = CommandHistory(commands[0], PERIOD_S)
    for k, command in enumerate(commands):
        predicted, std = history.acting(command, PERIOD_S)
        true = _acted(commands, k, latency_s)
        if k > 250:
            assert np.all(np.abs(predicted - true) < 4.0 * std + 0.2)
        history.learn((true - predicted + noise * rng.standard_normal(2)) / noise, np.eye(2) / noise, PERIOD_S)
        history.update(command, PERIOD_S)
    assert history.latency_s == pytest.approx(latency_s, abs=LONGEST_LATENCY * PERIOD_S / LATENCIES)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_command_before_the_first_is_unknown_until_the_first_has_taken_effect(compiled: bool) -> None:
    """The effort is as uncertain as the earlier command at first, and known once the longest latency has passed."""
    earlier_std = np.array([87.0, 12.0])
    history = command_history(np.array([1.0, -2.0]), PERIOD_S, None, earlier_std, compiled)
    stds = []
    for _ in range(12):
        mean, std = history.acting(np.array([1.0, -2.0]), PERIOD_S)
        np.testing.assert_allclose(mean, [1.0, -2.0])
        stds.append(std / earlier_std)
        history.update(np.array([1.0, -2.0]), PERIOD_S)
    shares = np.array(stds)
    np.testing.assert_allclose(shares[:, 0], shares[:, 1], atol=1e-12)
    assert shares[0, 0] > 0.5
    assert np.all(np.diff(shares[:, 0]) <= 1e-12)
    np.testing.assert_array_less(shares[7:], 1e-12)  # the grid's longest latency is six periods


@pytest.mark.parametrize("compiled", [True, False])
def test_the_expected_latency_does_not_grow_with_the_period_of_slow_states(compiled: bool) -> None:
    """It belongs to the robot's own control loop; beyond its two usual periods it is only less likely."""
    at = {period_s: command_history(np.zeros(2), period_s, None, None, compiled, 0.005) for period_s in (0.005, 0.015)}
    unstated = command_history(np.zeros(2), 0.015, None, None, compiled)
    assert at[0.015].latency_s == pytest.approx(at[0.005].latency_s, abs=0.005)
    assert unstated.latency_s == pytest.approx(3.0 * at[0.005].latency_s)
    assert at[0.015].latency_s + 6.0 * at[0.015].latency_std_s > 0.03


@pytest.mark.parametrize(("period_s", "slow"), [(0.015, True), (0.00501, False), (0.002, False)])
def test_states_are_slow_by_the_robots_own_period(period_s: float, slow: bool) -> None:
    robot = load_robot("panda").at_period(period_s)
    assert robot.own_period_s == 0.005
    assert filter_tuning(robot, ArmDynamics(robot), AdapterTuning(20.0)).slow_states is slow


def test_recordings_faster_than_the_robot_have_its_latency_in_their_own_periods() -> None:
    fast, plain = (command_history(np.zeros(2), 0.002, None, None, True, own_s) for own_s in (0.005, None))
    assert fast.latency_s == plain.latency_s


def test_a_late_sample_leaves_open_which_command_acted() -> None:
    history = CommandHistory(np.zeros(1), PERIOD_S)
    for _ in range(5):
        history.update(np.zeros(1), PERIOD_S)
    on_time, late = ([x.copy() for x in history.acting(np.ones(1), dt)] for dt in (PERIOD_S, 3.0 * PERIOD_S))
    assert 0.0 < on_time[0][0] < late[0][0] < 1.0
    assert late[1][0] > 0.1


def test_a_constant_command_acts_whatever_the_latency() -> None:
    history = CommandHistory(np.array([2.0, -1.0]), PERIOD_S)
    mean, std = history.acting(np.array([2.0, -1.0]), PERIOD_S)
    assert np.allclose(mean, [2.0, -1.0]) and np.allclose(std, 0.0)


def test_smoothing_follows_ramps_without_lag() -> None:
    smooth = Smooth(np.zeros(1), 0.1)
    for k in range(1, 400):
        smooth.update(np.array([0.01 * k]), PERIOD_S)
    assert smooth.level[0] == pytest.approx(0.01 * 399, abs=1e-3)


def test_velocity_noise_is_told_from_motion() -> None:
    noise, rng = VelocityNoise((0.05,), np.zeros(7, dtype=np.intp)), np.random.default_rng(2)
    for k in range(1000):
        noise.update(np.sin(3.0 * k * PERIOD_S) + 0.01 * rng.standard_normal(7), PERIOD_S)
    assert np.sqrt(noise.variance) == pytest.approx(0.01, rel=0.2)


def test_whiteness_fails_for_a_small_lasting_bias_and_for_a_large_jolt_only() -> None:
    rng = np.random.default_rng(3)
    quiet, biased, struck = (Whiteness(1e-6, 14) for _ in range(3))
    alarms = [[], [], []]
    for k in range(2000):
        white = rng.standard_normal(14)
        alarms[0].append(quiet.fails(white))
        alarms[1].append(biased.fails(white + 0.8 * (k >= 1900)))
        alarms[2].append(struck.fails(white + 4.0 * (k == 1900)))
    assert not any(alarms[0])
    assert not any(alarms[1][:1900]) and any(alarms[1][1900:1920])
    assert alarms[2].index(True) == 1900


def test_whiteness_with_probability_zero_never_fails() -> None:
    assert not Whiteness(0.0, 2).fails(np.array([1e6, 1e6]))


def _sensed(jitter_s: float, noise: float, lag_s: float = 0.0, samples: int = 1500) -> SensorNoise:
    """Noise found on three joints that swing at 0.3, 0.5 and 0.7 Hz; velocities have noise of 0.003 rad/s."""
    rng, sensors, last, white = np.random.default_rng(5), SensorNoise(np.full(3, 3e-5)), np.zeros(3), np.full(3, 9e-6)
    omega, stamp = 2.0 * np.pi * np.array([0.3, 0.5, 0.7]), 0.0
    for k in range(1, samples):
        at, late = k * PERIOD_S, k * PERIOD_S + jitter_s * rng.standard_normal()
        q = np.sin(omega * at) + noise * rng.standard_normal(3)
        v = omega * np.cos(omega * (at - lag_s)) + 0.003 * rng.standard_normal(3)
        sensors.update(q - last, v, white, late - stamp)
        last, stamp = q, late
    return sensors


def test_noise_of_positions_is_found_and_not_taken_for_jitter() -> None:
    found = _sensed(0.0, 3e-4)
    assert np.sqrt(found.position) == pytest.approx(3e-4, rel=0.4)
    assert found.jitter**0.5 < 5e-5


def test_jitter_of_stamps_is_found_and_not_taken_for_noise_of_positions() -> None:
    found = _sensed(4e-4, 3e-5)
    assert found.jitter**0.5 == pytest.approx(4e-4, rel=0.3)
    assert np.all(np.sqrt(found.position) < 1e-4)


def test_good_sensors_keep_their_noise_levels() -> None:
    found = _sensed(0.0, 3e-5)
    assert np.sqrt(found.position) == pytest.approx(3e-5, rel=0.4)
    assert found.jitter**0.5 < 3e-5 and np.all(found.velocity < 0.003**2 * 2.0)


def test_velocities_that_lag_are_found() -> None:
    assert np.all(_sensed(0.0, 3e-5, lag_s=0.01).velocity > 0.003**2 * 5.0)


def test_an_outlier_hardly_changes_the_noise_of_positions() -> None:
    sensors, rng = SensorNoise(np.full(2, 3e-5)), np.random.default_rng(6)
    for k in range(600):
        moved = 3e-5 * np.diff(rng.standard_normal((2, 2)), axis=0)[0] + (0.1 if k == 500 else 0.0)
        sensors.update(moved, np.full(2, 1e-3), np.full(2, 1e-8), PERIOD_S)
    assert np.all(np.sqrt(sensors.position) < 6e-5)


@pytest.mark.parametrize("std_nm", [0.0, 0.5])
def test_white_noise_of_efforts_is_found(std_nm: float) -> None:
    """The filter lacks the noise at first and then has the estimate, so that innovations become white."""
    rng, noise, seen = np.random.default_rng(7), EffortNoise(np.full(2, 0.01), 2), 0.2
    for _ in range(1500):
        innovation = std_nm * rng.standard_normal(2) + seen * rng.standard_normal(2)
        std = np.sqrt(noise.white + seen**2)
        noise.update(innovation / std, np.diag(1.0 / std), PERIOD_S)
    assert np.sqrt(noise.white) == pytest.approx(std_nm, rel=0.2, abs=0.1)
    assert np.all(np.sqrt(noise.error) < 0.02)


def test_errors_that_last_enlarge_the_model_error() -> None:
    rng, noise, seen = np.random.default_rng(8), EffortNoise(np.full(2, 0.01), 2), 0.2
    for k in range(400):
        ripple = 0.3 * np.sin(2.0 * np.pi * 4.0 * k * PERIOD_S)
        std = np.sqrt(noise.white + seen**2)
        noise.update((ripple + seen * rng.standard_normal(2)) / std, np.diag(1.0 / std), PERIOD_S)
    assert np.all(np.sqrt(noise.error) > 0.03)


def test_sensor_and_effort_noise_are_the_same_in_c_and_in_numpy() -> None:
    rng = np.random.default_rng(9)
    sensors = [sensor_noise(np.full(3, 3e-5), compiled) for compiled in (True, False)]
    efforts = [effort_noise(np.full(3, 0.1), 3, compiled) for compiled in (True, False)]
    for _ in range(300):
        moved, v, white, response = (rng.standard_normal(shape) for shape in (3, 3, 6, (6, 3)))
        dt = PERIOD_S * rng.uniform(0.8, 2.5)
        for sensor, effort in zip(sensors, efforts, strict=True):
            sensor.update(v * dt + 1e-4 * moved, v, np.full(3, 1e-5), dt)
            effort.update(white, response, dt)
        for name in ("position", "velocity", "jitter"):
            assert np.allclose(getattr(sensors[0], name), getattr(sensors[1], name), rtol=1e-9)
        assert np.allclose(efforts[0].white, efforts[1].white, rtol=1e-9)
        assert np.allclose(efforts[0].error, efforts[1].error, rtol=1e-9)


def test_in_c_and_in_numpy_they_are_the_same() -> None:
    rng, group = np.random.default_rng(4), np.repeat([0, 1], 3)
    smooths = [smooth(np.zeros(2), 0.1, compiled) for compiled in (True, False)]
    noises = [velocity_noise((0.02, 0.05), group, compiled) for compiled in (True, False)]
    tests = [whiteness(1e-3, 6, 3, compiled) for compiled in (True, False)]
    earlier_std = np.array([0.5, 2.0])
    histories = [command_history(np.zeros(2), PERIOD_S, None, earlier_std, compiled) for compiled in (True, False)]
    if not isinstance(smooths[0], CompiledSmooth):
        pytest.skip("no C compiler")
    failed = 0
    for k in range(300):
        effort, v, white, response = (rng.standard_normal(shape) for shape in (2, 6, 6 + 3 * (k % 2), (6, 2)))
        dt = PERIOD_S * rng.uniform(0.8, 2.5)
        for signal in smooths:
            signal.update(effort, dt)
        for noise in noises:
            noise.update(0.01 * v * (1.0 + 10.0 * (k % 40 == 0)), dt)
        acting = [history.acting(effort, dt) for history in histories]
        for history in histories:
            history.learn(white[:6], response, dt)
            history.update(effort, dt)
        fails = [test.fails(white) for test in tests]
        failed += fails[0]
        assert fails[0] == fails[1]
        assert np.allclose(smooths[0].level, smooths[1].level, rtol=1e-12, atol=1e-14)
        assert np.allclose(noises[0].variance, noises[1].variance, rtol=1e-12)
        assert np.allclose(acting[0], acting[1], rtol=1e-10, atol=1e-12)
        assert histories[0].latency_s == pytest.approx(histories[1].latency_s, rel=1e-9)
        if failed == 5:
            for test in tests:
                test.clear()
    assert failed > 0
