# SPDX-License-Identifier: Apache-2.0
"""Batches and data sets: the same physics as one plant, decided by the seed alone, and safe to store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.batch import BatchPlant
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import TaskRanges, draw_task
from metarl_robot.sim.dataset import DataSet, collect
from metarl_robot.sim.kinds import simulation

PLANAR, PANDA = load_robot("planar2"), load_robot("panda")


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_each_arm_of_a_batch_is_an_arm_plant(robot) -> None:
    rng = np.random.default_rng(0)
    tasks = [draw_task(robot, rng) for _ in range(5)]
    q, v = robot.home + 0.1 * rng.normal(size=(5, robot.dof)), 0.2 * rng.normal(size=(5, robot.dof))
    batch = BatchPlant(robot, tasks, range(5))
    plants = [ArmPlant(robot, task, seed) for seed, task in enumerate(tasks)]
    for _ in range(2):  # the second reset forgets the first run
        measured, singles = batch.reset(q, v), [plant.reset(q[i], v[i]) for i, plant in enumerate(plants)]
        for _ in range(40):
            np.testing.assert_array_equal(measured.q, [s.q for s in singles])
            np.testing.assert_array_equal(measured.v, [s.v for s in singles])
            effort = 0.5 * robot.effort_limit * rng.normal(size=(5, robot.dof))
            measured, singles = (
                batch.step(effort),
                [p.step(effort[i], robot.control_period_s) for i, p in enumerate(plants)],
            )
        np.testing.assert_array_equal(batch.truth.q, [p.truth.q for p in plants])


def test_a_swinging_payload_is_refused_in_a_batch() -> None:
    swinging = simulation(PLANAR).scenario("extrapolation", "swing", 0).changes[0][1]
    with pytest.raises(MetaRLError, match="swinging"):
        BatchPlant(PLANAR, [swinging], [0])


@pytest.fixture(scope="module")
def data() -> DataSet:
    return collect(PLANAR, 24, seed=5, duration_s=0.5)


def test_shapes_and_limits(data: DataSet) -> None:
    assert data.q.shape == data.v.shape == data.q_measured.shape == data.v_measured.shape == (24, 101, 2)
    assert data.effort.shape == (24, 100, 2) and len(data.tasks) == 24
    np.testing.assert_allclose(data.times, np.arange(101) * 0.005)
    assert np.all(np.abs(data.effort) <= PLANAR.effort_limit)
    assert np.all(np.abs(data.v) < PLANAR.velocity_limit)
    assert np.all((data.q > PLANAR.position_lower) & (data.q < PLANAR.position_upper))


def test_motion_excites_every_joint(data: DataSet) -> None:
    assert data.q.std((0, 1)).min() > 0.2
    assert data.v.std((0, 1)).min() > 0.3


def test_seed_decides_everything_and_threads_nothing(data: DataSet) -> None:
    digest = data.sha256()
    assert collect(PLANAR, 24, seed=5, duration_s=0.5, threads=1).sha256() == digest
    others = [collect(PLANAR, 24, 6, duration_s=0.5), collect(PLANAR, 24, 5, suite="heldout", duration_s=0.5)]
    assert len({digest, *(other.sha256() for other in others)}) == 3


def test_recorded_motion_obeys_the_dynamics() -> None:
    """Without friction, cable, latency: M v' + h + payload = strength * command, up to the control period's
    discretisation.
    """
    zero = (0.0, 0.0)
    ranges = TaskRanges(
        coulomb_ratio=zero, viscous_ratio_s=zero, cable_probability=0.0, latency_s=zero, payload_probability=1.0
    )
    data, dynamics = collect(PLANAR, 6, seed=1, duration_s=1.0, ranges=ranges), ArmDynamics(PLANAR)
    for i, task in enumerate(data.tasks):
        q, v = data.q[i].astype(float), data.v[i].astype(float)
        middle_q, middle_v, a = (q[1:] + q[:-1]) / 2, (v[1:] + v[:-1]) / 2, np.diff(v, axis=0) / 0.005
        explained = dynamics.inverse_dynamics(middle_q, middle_v, a, task.payload.inertial_parameters())
        rest = task.motor_strength * data.effort[i] - explained
        without = task.motor_strength * data.effort[i] - dynamics.inverse_dynamics(middle_q, middle_v, a)
        assert np.sqrt(np.mean(rest**2)) < 0.05
        assert np.sqrt(np.mean(rest**2)) < 0.1 * np.sqrt(np.mean(without**2))


def test_progress_and_refusals() -> None:
    seen: list[tuple[int, int]] = []
    collect(PLANAR, 3, seed=0, duration_s=0.05, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)
    with pytest.raises(MetaRLError, match="tasks"):
        collect(PLANAR, 0, seed=0)
    with pytest.raises(UnknownNameError, match="train"):
        collect(PLANAR, 1, seed=0, suite="trian")


def test_save_and_load(data: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    data.save(path)
    again = DataSet.load(path)
    assert again.sha256() == data.sha256() and again.robot == "planar2"
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 500):
        path.write_bytes(whole[:size])
        with pytest.raises(MetaRLError, match=r"data\.npz"):
            DataSet.load(path)
    with pytest.raises(MetaRLError, match="missing"):
        DataSet.load(tmp_path / "missing.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(MetaRLError, match="not a data set"):
        DataSet.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", times=np.array([object()], dtype=object))
    with pytest.raises(MetaRLError, match="not a data set"):
        DataSet.load(tmp_path / "pickled.npz")
