# SPDX-License-Identifier: Apache-2.0
"""Velocities that are differences of the measured positions are recognised, and measure nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.euclidean_tuning import filter_tuning
from metarl_robot.adaptation.noise_model import NoiseModel
from metarl_robot.adaptation.stream.difference_velocities import DifferenceVelocities, difference_velocities
from metarl_robot.adaptation.stream.noise_levels import UNMEASURED
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.arm.dynamics import ArmDynamics

Array = NDArray[np.float64]

PERIOD_S, QUANTUM = 0.005, 3e-4
LEAST = np.full(2, 3e-5)


@pytest.fixture(params=[True, False])
def compiled(request: pytest.FixtureRequest) -> bool:
    """In C if there is a compiler, and in numpy."""
    return bool(request.param)


def _positions(count: int = 600) -> Array:
    """Positions (count, 2) of a smooth motion from rest."""
    times = PERIOD_S * np.arange(count)
    return np.column_stack([0.5 * (1.0 - np.cos(1.3 * times)), 0.3 * (np.cos(0.9 * times) - 1.0)])


def _coarse(q: Array) -> Array:
    return QUANTUM * np.round(q / QUANTUM)


def _found(q: Array, v: Array, differences: DifferenceVelocities) -> list[bool]:
    """Whether velocities v (N - 1, 2) after the first of positions q (N, 2) are differences, for each sample."""
    return [differences.found(now - last, speed, PERIOD_S) for last, now, speed in zip(q[:-1], q[1:], v, strict=True)]


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_differences_of_coarse_positions_are_recognised_with_their_first_change(compiled: bool, share: float) -> None:
    """If the driver divides by its own period, which is not that of the stamps, once two joints change together."""
    q, differences = _coarse(_positions()), difference_velocities(LEAST, compiled)
    moved = np.diff(q, axis=0)
    found = _found(q, moved / (share * PERIOD_S), differences)
    first = np.flatnonzero(moved.any(axis=1) if share == 1.0 else moved.all(axis=1))[0]
    assert all(found[first:])
    assert not any(found[:first])


def test_the_variance_is_that_of_quantisation(compiled: bool) -> None:
    q, differences = _coarse(_positions()), difference_velocities(LEAST, compiled)
    _found(q, np.diff(q, axis=0) / PERIOD_S, differences)
    np.testing.assert_allclose(differences.position, QUANTUM**2 / 12.0, rtol=0.4)


def test_a_robot_that_stops_is_still_known_to_be_coarse(compiled: bool) -> None:
    moving = _coarse(_positions())
    q, differences = (
        np.concatenate([moving, np.repeat(moving[-1:], 2000, axis=0)]),
        difference_velocities(LEAST, compiled),
    )
    found = _found(q, np.diff(q, axis=0) / PERIOD_S, differences)
    assert found[-1]
    assert (differences.position > 0.3 * QUANTUM**2 / 12.0).all()


@pytest.mark.parametrize("noise", [1e-9, 1e-3])
def test_measured_velocities_are_not_differences(compiled: bool, noise: float) -> None:
    """Not even with hardly any noise: those of a smooth motion differ from its differences by its acceleration."""
    rng, q = np.random.default_rng(0), _positions()
    v = np.gradient(q, PERIOD_S, axis=0)[1:] + noise * rng.standard_normal((len(q) - 1, 2))
    assert not any(_found(_coarse(q), v, difference_velocities(LEAST, compiled)))
    assert not any(_found(q, v, difference_velocities(LEAST, compiled)))


def test_differences_of_smooth_positions_are_used(compiled: bool) -> None:
    """Those of a noiseless simulation (semi-implicit Euler)."""
    q = _positions()
    assert not any(_found(q, np.diff(q, axis=0) / PERIOD_S, difference_velocities(LEAST, compiled)))


def test_a_lost_sample_is_no_difference_and_the_next_one_is(compiled: bool) -> None:
    """The difference over the last period is not the motion since the sample before the lost one."""
    q = _coarse(_positions())
    v = np.diff(q, axis=0) / PERIOD_S
    kept = np.delete(np.arange(len(q)), 300)
    found = _found(q[kept], v[kept[1:] - 1], difference_velocities(LEAST, compiled))
    assert found[298] and not found[299] and all(found[300:])


def test_the_noise_model_takes_them_for_unmeasured_and_returns_to_measured_ones(compiled: bool) -> None:
    robot = load_robot("panda")
    dynamics = ArmDynamics(robot)
    noise = NoiseModel(filter_tuning(robot, dynamics, AdapterTuning(20.0)), dynamics, compiled)
    q = _coarse(robot.home + _positions()[:, :1])
    noise.start(State(q[0], np.zeros(robot.dof)))
    velocities = slice(robot.dof, 2 * robot.dof)
    for last, now in zip(q[:-1], q[1:], strict=True):
        noise.update(State(now, (now - last) / PERIOD_S), np.zeros(robot.dof), PERIOD_S)
    assert noise.differences
    np.testing.assert_array_equal(noise.variance[velocities], UNMEASURED)
    noise.update(State(q[-1] + 1e-3, np.linspace(0.1, 0.2, robot.dof)), np.zeros(robot.dof), PERIOD_S)
    assert not noise.differences
    assert (noise.variance[velocities] < 1.0).all()


@pytest.mark.parametrize("sampled", [False, True])
def test_noise_levels_are_the_same_in_c_and_in_numpy(sampled: bool) -> None:
    """Of jittering stamps and noisy positions; velocities are measured, or differences of coarse positions."""
    robot, rng = load_robot("panda"), np.random.default_rng(1)
    dynamics = ArmDynamics(robot)
    models = [NoiseModel(filter_tuning(robot, dynamics, AdapterTuning(20.0)), dynamics, each) for each in (True, False)]
    times = np.cumsum(PERIOD_S * rng.uniform(0.8, 2.0, 400))
    q = robot.home + 0.3 * np.sin(np.linspace(0.5, 2.0, robot.dof) * times[:, None])
    q[200:210] = q[200]
    q = _coarse(q) if sampled else q + 1e-4 * rng.standard_normal(q.shape)
    for model in models:
        model.start(State(q[0], np.zeros(robot.dof)))
    for k in range(1, len(q)):
        dt = times[k] - times[k - 1]
        v = (q[k] - q[k - 1]) / (dt if sampled else PERIOD_S) + (not sampled) * 0.01 * rng.standard_normal(robot.dof)
        for model in models:
            model.update(State(q[k], v), np.linspace(-1.0, 1.0, robot.dof), dt)
        assert models[0].differences == models[1].differences
        np.testing.assert_allclose(models[0].variance, models[1].variance, rtol=1e-9)
        np.testing.assert_allclose(models[0].common, models[1].common, rtol=1e-9)
    assert models[0].differences == sampled
