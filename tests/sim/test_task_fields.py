# SPDX-License-Identifier: Apache-2.0
"""Every field of a task acts in the single plant and in the batch, and equally.

A field is changed from its nominal value to one that training draws, or else a suite of evaluation runs. A field that
neither draws, or that a batch cannot simulate, needs its reason in UNTRAINED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import chain
from typing import Any

import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.sim.arm.batch import BatchPlant
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

BATCHES: dict[str, tuple[type, type]] = {"arm": (Task, BatchPlant), "quadrotor": (QuadrotorTask, QuadrotorBatch)}
ROBOTS = {"arm": load_robot("planar2"), "quadrotor": load_robot("x500")}
UNTRAINED = {
    ("arm", "swing"): "a swinging payload needs another model, and one batch has one model",
    ("quadrotor", "sling_m"): "a payload on a sling needs another model, and one batch has one model",
    ("quadrotor", "member"): "it names the robot that flies in training of a family, not a condition of its flight",
}
_SUITES_ONLY = "only suites draw it, and they simulate one robot"
SINGLE = {("arm", "push_n"): _SUITES_ONLY, ("arm", "obstacle"): _SUITES_ONLY} | {
    ("quadrotor", name): _SUITES_ONLY
    for name in ("imu", "accelerometer_bias_m_s2", "mass_scale", "inertia_scale", "com_m")
    + ("crash_tilt_deg", "crash_impact_m_s", "push_n")
}
"""Fields that this test does not compare between single plant and batch, with the reason."""
DRAWS = 40
STEPS = 60
CASES = [(kind, field.name) for kind, (task, _) in BATCHES.items() for field in fields(task)]


def drawn(kind: str, name: str) -> Any:
    """The first value of a field that is not the nominal one, in training or else in the suites; None: no such."""
    simulated, rng = simulation(ROBOTS[kind]), np.random.default_rng(0)
    maker, nominal = simulated.rollout_maker(), plain(simulated.nominal_task(), name)
    trained = (maker.draw_task(rng, None) for _ in range(DRAWS))
    for task in chain(trained, () if (kind, name) in UNTRAINED | SINGLE else evaluated(kind)):
        if plain(task, name) != nominal:
            return getattr(task, name)
    return None


def evaluated(kind: str) -> Iterator[Any]:
    """One task of every kind of run in every suite."""
    simulated = simulation(ROBOTS[kind])
    for suite in simulated.suite_names():
        for run in simulated.scenario_names(suite):
            scenario = simulated.scenario(suite, run, 0)
            yield scenario.task_at(scenario.duration_s)


def plain(task: Any, name: str) -> Any:
    return task.to_dict()[name]


def start(robot: Robot) -> tuple[np.ndarray, np.ndarray]:
    """Near the ground for a quadrotor, and moving, so that friction, drag and the ground act."""
    q = robot.home.copy()
    if robot.attitude is not None:
        q[2] = 0.4
    return q, 0.2 * np.ones(robot.dof)


def efforts(robot: Robot) -> np.ndarray:
    rng = np.random.default_rng(1)
    middle = robot.hover_thrust if robot.attitude is not None else np.zeros(robot.nu)
    return middle + 0.1 * robot.effort_limit * rng.normal(size=(STEPS, robot.nu))


def measurements(first: State, step: Callable[[np.ndarray], State], robot: Robot) -> np.ndarray:
    """Measurements of the sensors (STEPS + 1, ·)."""
    states = [first, *(step(effort) for effort in efforts(robot))]
    force = [np.zeros((*np.shape(s.q)[:-1], 0)) if s.specific_force is None else s.specific_force for s in states]
    return np.stack([np.concatenate([s.q, s.v, f], axis=-1) for s, f in zip(states, force, strict=True)])


def single(kind: str, task: Any) -> np.ndarray:
    robot = ROBOTS[kind]
    plant = simulation(robot).plant(task, 3)
    return measurements(plant.reset(*start(robot)), lambda effort: plant.step(effort, robot.control_period_s), robot)


def batched(kind: str, tasks: list[Any]) -> np.ndarray:
    robot, count = ROBOTS[kind], len(tasks)
    batch = BATCHES[kind][1](robot, tasks, [3] * count)
    first = batch.reset(*(np.tile(x, (count, 1)) for x in start(robot)))
    return measurements(first, lambda effort: batch.step(np.tile(effort, (count, 1))), robot)


@pytest.mark.parametrize(("kind", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_a_field_acts_in_the_single_plant_and_in_the_batch_equally(kind: str, name: str) -> None:
    value = drawn(kind, name)
    if (kind, name) in UNTRAINED | SINGLE:
        assert value is None, f"training draws {name}: it needs no reason any more"
        return
    assert value is not None, f"no training and no suite draws {name}: draw it, or give the reason in UNTRAINED"
    nominal = simulation(ROBOTS[kind]).nominal_task()
    changed = replace(nominal, **{name: value})
    before, after = single(kind, nominal), single(kind, changed)
    assert np.abs(after - before).max() > 1e-7, f"the single plant does not simulate {name}"
    both = batched(kind, [nominal, changed])
    np.testing.assert_array_equal(both[:, 0], before)
    np.testing.assert_array_equal(both[:, 1], after, err_msg=f"the batch simulates {name} otherwise")


def test_reasons_are_of_fields_that_exist() -> None:
    assert set(UNTRAINED | SINGLE) <= set(CASES)


def test_a_batch_refuses_another_model() -> None:
    arm, x500 = (simulation(robot).nominal_task() for robot in ROBOTS.values())
    hung = replace(x500, payload=replace(x500.payload, mass_kg=0.1), sling_m=0.5)
    with pytest.raises(MetaRLError, match="sling"):
        batched("quadrotor", [x500, hung])
    heavy = replace(arm.payload, mass_kg=0.1, com_m=np.array([0.0, 0.0, 0.2]))
    with pytest.raises(MetaRLError, match="swinging"):
        batched("arm", [replace(arm, payload=heavy, swing=True)])
    with pytest.raises(MetaRLError, match="pushes"):
        batched("arm", [replace(arm, push_n=np.array([1.0, 0.0, 0.0]))])
