# SPDX-License-Identifier: Apache-2.0
"""Training data of ground vehicles: the share that the true context explains, seeds, and learned features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Interval, Xi
from metarl_robot.adaptation.network import Perceptron
from metarl_robot.adaptation.training_data import HISTORY, TrainingData
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS, GroundDynamics
from metarl_robot.robots.ground.features.learned import GroundNetworkFeatures, encode
from metarl_robot.sim.dataset import DataSet, collect
from metarl_robot.sim.ground.training_data import GroundTrainingData

Array = NDArray[np.float64]

TASKS = 12
BASIS = 4


@pytest.fixture(scope="module")
def robot() -> Ground:
    made = load_robot("f1tenth")
    assert isinstance(made, Ground)
    return made


@pytest.fixture(scope="module")
def builder(robot: Ground) -> GroundTrainingData:
    return GroundTrainingData(robot)


@pytest.fixture(scope="module")
def data(robot: Ground, builder: GroundTrainingData) -> DataSet:
    return collect(robot, TASKS, seed=1, duration_s=0.6, ranges=builder.ranges)


@pytest.fixture(scope="module")
def told(builder: GroundTrainingData, data: DataSet) -> TrainingData:
    return builder.training_data(data, builder.groups)


@pytest.fixture(scope="module")
def learned(robot: Ground) -> GroundNetworkFeatures:
    rng, inputs = np.random.default_rng(0), len(encode(robot, np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 2)))[0])
    weights = [0.5 * rng.standard_normal((6, inputs)), rng.standard_normal((3 * BASIS, 6))]
    return GroundNetworkFeatures(Perceptron(weights, [rng.standard_normal(6), rng.standard_normal(3 * BASIS)]), robot)


def _rms(impulses: Array) -> Array:
    """Root mean square (3,) of impulses (T, S, 3)."""
    return np.asarray(np.sqrt(np.square(impulses, dtype=float).mean(axis=(0, 1))))


def _left(data: TrainingData) -> Array:
    """What the true context leaves of the targets, (T, S, 3)."""
    return np.asarray(data.target - np.einsum("tsnk,tk->tsn", data.raw, data.contexts))


# Rollouts.


def test_rollouts_move_within_limits_under_the_efforts_of_the_actuators(robot: Ground, data: DataSet) -> None:
    assert data.acting is not None and data.acting.shape == data.effort.shape == (TASKS, 60, 2)
    assert np.all(np.isfinite(data.q)) and np.all(np.isfinite(data.v))
    speed = np.hypot(data.v[..., 0], data.v[..., 1])
    assert speed.max() <= 1.3 * robot.velocity_limit[0] + 1e-3 and speed.mean() > 0.5
    for efforts in (data.effort, data.acting):
        assert np.all(np.abs(efforts) <= robot.effort_limit * (1.0 + 1e-6))
    # positions are integrals of velocities: trapezoids of 10 ms are off by dt³ v̈ / 12 < 1 mm
    way = 0.5 * robot.control_period_s * (data.v[:, 1:] + data.v[:, :-1])
    assert np.abs(np.diff(data.q, axis=1) - way)[..., :2].max() < 1e-3


def test_rollouts_begin_at_speed_and_slip(data: DataSet) -> None:
    heading = data.q[..., 2]
    across = np.cos(heading) * data.v[..., 1] - np.sin(heading) * data.v[..., 0]
    assert np.hypot(*data.v[:, 0, :2].T).mean() > 0.5
    assert np.abs(across).max() > 0.1


def test_the_same_seed_gives_the_same_data(robot: Ground) -> None:
    first, again, other = (collect(robot, 2, seed=seed, duration_s=0.1) for seed in (4, 4, 5))
    assert first.sha256() == again.sha256() != other.sha256()
    threads = collect(robot, 2, seed=4, duration_s=0.1, threads=1)
    assert threads.sha256() == first.sha256()
    heldout = collect(robot, 2, seed=4, duration_s=0.1, suite="heldout")
    assert heldout.sha256() != first.sha256()


def test_tasks_of_one_data_set_differ(data: DataSet) -> None:
    assert len({task.friction for task in data.tasks}) == TASKS
    assert all(task.sensor_delay_s == 0.0 for task in data.tasks)


# Training data.


def test_the_true_context_explains_most_of_the_nominal_residual(
    builder: GroundTrainingData, data: DataSet, told: TrainingData
) -> None:
    nominal, left = _rms(builder.training_data(data, ()).target), _rms(_left(told))
    # less of the torque is explained: the model has one wheel for each axle, without the yaw torques of load transfer
    # across and of the wheels' inertia
    assert np.all(left < [0.5 * nominal[0], 0.5 * nominal[1], 0.8 * nominal[2]])
    assert np.all(left / told.dt < 0.05 * builder.force_scale)


def test_each_group_is_needed(builder: GroundTrainingData, data: DataSet, told: TrainingData) -> None:
    whole, scale = _rms(_left(told)), builder.force_scale
    for name in ("surface", "slope", "actuators"):
        others = tuple(group for group in builder.groups if group != name)
        left = _rms(_left(builder.training_data(data, others)))
        assert np.linalg.norm(left / scale) > 1.05 * np.linalg.norm(whole / scale)


def test_a_wrong_context_explains_less(told: TrainingData) -> None:
    """The context of another task, in the linearisation about the true one."""
    exchanged = np.roll(told.contexts, 1, axis=0)
    left = told.target - np.einsum("tsnk,tk->tsn", told.raw, exchanged)
    assert np.all(_rms(_left(told)) < _rms(left))


def test_targets_are_body_vectors_of_the_world_s_residual(builder: GroundTrainingData, data: DataSet) -> None:
    body, world = builder.training_data(data, ()), builder.truth(data)
    size_body, size_world = (np.linalg.norm(part.target[..., :2], axis=-1) for part in (body, world))
    assert np.allclose(size_body, size_world, atol=1e-5)
    assert np.allclose(body.target[..., 2], world.target[..., 2], atol=1e-6)
    c, s = np.cos(body.q[..., 2]), np.sin(body.q[..., 2])
    along = c * world.target[..., 0] + s * world.target[..., 1]
    assert np.allclose(body.target[..., 0], along, atol=1e-5)
    assert np.abs(body.target - world.target).max() > 1e-3  # courses turn


def test_arrays_have_one_row_for_each_interval(builder: GroundTrainingData, data: DataSet, told: TrainingData) -> None:
    steps = data.effort.shape[1] - HISTORY
    assert told.target.shape == (TASKS, steps, 3) and told.raw.shape == (TASKS, steps, 3, N_PARAMETERS)
    assert told.contexts.shape == (TASKS, N_PARAMETERS) and len(told.entries) == N_PARAMETERS
    for values in (told.target, told.raw, told.inputs, told.contexts, told.noise):
        assert values is not None and np.all(np.isfinite(values))
    rate = np.diff(data.v[:, HISTORY:].astype(float), axis=1) / builder.dynamics.robot.control_period_s
    assert np.allclose(told.a, rate, rtol=1e-3, atol=1e-2)


def test_commanded_efforts_are_those_of_the_actuators_without_delay(
    robot: Ground, builder: GroundTrainingData, data: DataSet
) -> None:
    assert data.acting is not None
    for task in range(3):
        model, truth = builder.commanded(data, task), data.acting[task]
        # a delay of up to 15 ms, and the rate limits, of commands that change by a fifth of the limit in 0.15 s
        assert np.sqrt(np.square(model - truth).mean(axis=0) / robot.effort_limit**2).max() < 0.2


def test_an_adapter_that_needs_a_residual_series_is_refused(builder: GroundTrainingData, data: DataSet) -> None:
    with pytest.raises(MetaRLError, match="maml"):
        builder.residual_series(data)


# Learned features.


def _points(count: int) -> Xi:
    rng = np.random.default_rng(3)
    q, v = rng.uniform(-3.0, 3.0, (count, 3)), rng.uniform(-3.0, 3.0, (count, 3))
    effort = rng.uniform([-0.4, -1.9], [0.4, 1.9], (count, 2))
    return Xi(q, v, rng.normal(size=(count, 3)), effort, np.zeros((2, count, 2)))


def _turn(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("angle", [0.5, -2.0, np.pi])
def test_learned_forces_turn_with_the_whole_state(learned: GroundNetworkFeatures, angle: float) -> None:
    xi, z = _points(20), np.array([1.0, -0.5, 0.3, 2.0])
    turn = _turn(angle)
    turned = Xi(xi.q @ turn.T + [3.0, -7.0, angle], xi.v @ turn.T, xi.a @ turn.T, xi.effort, xi.past_effort)
    assert np.allclose(learned.value(turned, z), learned.value(xi, z) @ turn.T, atol=1e-10)
    assert np.allclose(learned.design(turned), np.einsum("ij,njk->nik", turn, learned.design(xi)), atol=1e-10)
    assert not np.allclose(learned.value(turned, z), learned.value(xi, z), atol=0.1)


def test_network_inputs_do_not_depend_on_place_and_heading(robot: Ground) -> None:
    xi, turn = _points(20), _turn(1.3)
    here = encode(robot, xi.q, xi.v, xi.effort)
    there = encode(robot, xi.q @ turn.T + [5.0, 1.0, 1.3], xi.v @ turn.T, xi.effort)
    assert np.allclose(here, there, atol=1e-10)


def test_slip_angles_of_a_rolling_vehicle_are_zero(robot: Ground) -> None:
    speed, angle = 2.0, 0.2
    # the centre of the turn lies on the rear axle's line
    rear = robot.single_track.positions[~robot.single_track.steered, 0].min()
    rate = speed * np.tan(angle) / robot.wheelbase_m
    v = np.array([[speed, -rate * rear, rate]])
    slips = encode(robot, np.zeros((1, 3)), v, np.array([[angle, 0.0]]))[0, -2:]
    assert np.allclose(slips, 0.0, atol=1e-9)
    aside = encode(robot, np.zeros((1, 3)), v + [[0.0, 0.3, 0.0]], np.array([[angle, 0.0]]))[0, -2:]
    assert np.all(aside > 0.1)


def test_value_is_design_times_coefficients(learned: GroundNetworkFeatures) -> None:
    xi, z = _points(20), np.array([0.2, 1.0, -1.5, 0.7])
    assert np.allclose(learned.value(xi, z), learned.design(xi) @ z, atol=1e-10)


def test_impulse_is_the_force_at_the_mean_state_times_the_interval(
    robot: Ground, learned: GroundNetworkFeatures
) -> None:
    dynamics, xi, dt = GroundDynamics(robot), _points(10), 0.01
    z = np.array([1.0, 0.4, -0.3, 0.8])
    for k in range(10):
        after = xi.v[k] + dt * xi.a[k]
        balance = dynamics.balance(xi.q[k], xi.v[k], after, dt, np.zeros(N_PARAMETERS), xi.effort[k])
        middle_v = 0.5 * (xi.v[k] + after)
        middle_q = xi.q[k] + 0.5 * dt * middle_v
        mean = Xi(middle_q[None], middle_v[None], xi.a[k : k + 1], xi.effort[k : k + 1], np.zeros((2, 1, 2)))
        interval = Interval(xi.q[k], xi.v[k], after, xi.effort[k], np.zeros((2, 2)), dt, balance)
        assert np.allclose(learned.impulse(interval) @ z, dt * learned.value(mean, z)[0], rtol=1e-9, atol=1e-12)
