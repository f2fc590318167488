# SPDX-License-Identifier: Apache-2.0
"""Training data of quadrotors: share explained by the true context, units, families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.last_layer import LastLayerLearner
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.scale import FlightScale
from metarl_robot.sim.dataset import DataSet, collect
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.quadrotor.family import member
from metarl_robot.sim.quadrotor.ranges import TRAIN

STILL = replace(TRAIN, wind_probability=0.0)


@pytest.fixture(scope="module")
def robot() -> Quadrotor:
    made = load_robot("crazyflie")
    assert isinstance(made, Quadrotor)
    return made


@pytest.fixture(scope="module")
def data(robot: Quadrotor) -> DataSet:
    return collect(robot, 20, seed=1, duration_s=1.2, ranges=STILL)


def test_payload_rotors_and_drag_explain_the_residual_of_calm_air(robot: Quadrotor, data: DataSet) -> None:
    tasks = simulation(robot).training_data_builder().truth(data)
    residual = tasks.target / tasks.dt
    left = residual - np.einsum("tsnk,tk->tsn", tasks.raw / tasks.dt, tasks.contexts)
    force, left_force = (np.sqrt((x[..., :3] ** 2).mean()) for x in (residual, left))
    assert force > 0.05 and left_force < 0.1 * force


def test_features_can_be_chosen(robot: Quadrotor, data: DataSet) -> None:
    builder = simulation(robot).training_data_builder()
    some = builder.training_data(data, ("rotor", "push"))
    assert (
        some.names[:4] == tuple(f"rotor_{i}_strength_error" for i in range(1, 5))
        and some.raw.shape[3] == len(some.names) == 10
    )


def test_a_learner_takes_them_and_its_loss_is_finite(robot: Quadrotor, data: DataSet) -> None:
    builder = simulation(robot).training_data_builder()
    config = TrainConfig(learned=3, hidden=(8,), batch=8)
    learner = LastLayerLearner(builder.truth(data), builder.velocity_scale, builder.force_scale / builder.unit, config)
    loss, metrics = learner.loss(0)
    loss.backward()
    assert np.isfinite(float(loss.detach())) and metrics["error_percent"] < 50.0
    assert all(np.all(np.isfinite(p.grad.numpy())) for p in learner.module.parameters() if p.grad is not None)


def test_members_of_a_family_are_real_quadrotors_of_many_sizes() -> None:
    members = [member(i) for i in range(30)]
    masses = [m.mass_kg for m in members]
    assert min(masses) < 0.06 and max(masses) > 1.2
    for m in members:
        assert (
            m.mj_model.nv == 6
            and np.all(m.hover_thrust < 0.65 * m.effort_limit)
            and np.all(m.hover_thrust > m.effort_lower)
        )
    assert member(3) is member(3)


@pytest.mark.slow
def test_a_family_s_data_are_dimensionless_and_reproducible() -> None:
    family = load_robot("quad-family")
    first, again = (collect(family, 6, seed=0, duration_s=1.2) for _ in range(2))
    assert first.sha256() == again.sha256() and len({task.member for task in first.tasks}) > 1
    tasks = simulation(family).training_data_builder().truth(first)
    assert tasks.tasks == 6 and np.abs(tasks.target / tasks.dt).max() < 5.0
    small, large = (
        FlightScale(member(i)).force[0] for i in np.argsort([member(i).mass_kg for i in range(30)])[[0, -1]]
    )
    assert large > 10.0 * small
