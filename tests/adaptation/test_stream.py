# SPDX-License-Identifier: Apache-2.0
"""What the stream of samples tells: each estimator on signals whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.stream import (
    LATENCIES,
    LONGEST_LATENCY,
    CommandHistory,
    CompiledSmooth,
    Smooth,
    VelocityNoise,
    Whiteness,
    command_history,
    smooth,
    velocity_noise,
    whiteness,
)

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
    """An integrator with noise moves as the delayed command says; the history finds the delay and what acted."""
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


def test_in_c_and_in_numpy_they_are_the_same() -> None:
    rng, group = np.random.default_rng(4), np.repeat([0, 1], 3)
    smooths = [smooth(np.zeros(2), 0.1, compiled) for compiled in (True, False)]
    noises = [velocity_noise((0.02, 0.05), group, compiled) for compiled in (True, False)]
    tests = [whiteness(1e-3, 6, 3, compiled) for compiled in (True, False)]
    histories = [command_history(np.zeros(2), PERIOD_S, compiled) for compiled in (True, False)]
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
