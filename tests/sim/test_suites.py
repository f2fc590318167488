# SPDX-License-Identifier: Apache-2.0
"""Suites: reproducible, apart from each other, and possible for the robot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.sim.arm.feasibility import required_effort
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import TRAIN, draw_task, nominal_task
from metarl_robot.sim.euclidean_suites import CHANGE_S, DURATION_S
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.scenario import Scenario
from metarl_robot.trajectories.euclidean import check_reference
from metarl_robot.trajectories.splines import Hold

PLANAR, PANDA = load_robot("planar2"), load_robot("panda")


SUITES = simulation(PLANAR).suite_names()
TRACKING = [name for name in SUITES if name not in ("contact", "overload")]  # the others: test_contact_suites.py


def suite(robot: Robot, name: str, seeds: Iterable[int]) -> list[Scenario]:
    """One run of each of the suite's kinds for every seed."""
    room = simulation(robot)
    return [room.scenario(name, kind, seed) for seed in seeds for kind in room.scenario_names(name)]


def fingerprint(one: Scenario) -> str:
    q = one.reference.sample(np.linspace(0.0, DURATION_S, 11)).q
    tasks = [one.initial, *(task for _, task in one.changes)]
    return json.dumps([one.noise_seed, q.tolist(), [task.to_dict() for task in tasks]])


def test_names() -> None:
    assert set(SUITES) >= {"train", "heldout", "extrapolation", "nominal", "mismatch", "friction", "sensors", "long"}
    assert simulation(PLANAR).scenario_names("heldout") == ("pickup", "drop", "friction_step")
    with pytest.raises(UnknownNameError, match="heldout"):
        suite(PLANAR, "held-out", [0])
    with pytest.raises(UnknownNameError, match="pickup"):
        simulation(PLANAR).scenario("heldout", "pick", 0)
    with pytest.raises(MetaRLError, match="seed"):
        suite(PLANAR, "heldout", [-1])


def test_a_suite_has_every_kind_for_every_seed() -> None:
    runs = suite(PLANAR, "heldout", [3, 5])
    assert [(run.name, run.seed) for run in runs] == [
        (kind, seed) for seed in (3, 5) for kind in simulation(PLANAR).scenario_names("heldout")
    ]
    assert all(run.duration_s == DURATION_S for run in runs)


@pytest.mark.slow
def test_suites_are_reproducible_and_never_overlap() -> None:
    seeds = range(4)
    drawn = {name: [fingerprint(run) for run in suite(PLANAR, name, seeds)] for name in SUITES}
    everything = [text for texts in drawn.values() for text in texts]
    assert len(set(everything)) == len(everything)
    assert [fingerprint(run) for run in suite(PLANAR, "heldout", seeds)] == drawn["heldout"]


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
@pytest.mark.parametrize("name", TRACKING)
def test_every_run_is_feasible(robot, name: str) -> None:
    for run in suite(robot, name, range(2)):
        check_reference(robot, run.reference, 0.0, DURATION_S)
        assert simulation(robot).effort_use(run.initial, run.reference, 0.0, CHANGE_S) <= 0.85
        assert simulation(robot).effort_use(run.task_at(CHANGE_S), run.reference, CHANGE_S, DURATION_S) <= 0.85
        speed = np.abs(run.reference.sample(np.arange(0.0, DURATION_S, 0.01)).v).max(1)
        assert speed.max() > 0.4 and speed[100:].mean() > 0.2  # and still worth following


def test_each_kind_changes_what_its_name_says() -> None:
    runs = {run.name: run for name in ("heldout", "extrapolation", "nominal") for run in suite(PANDA, name, [1])}
    before = {name: run.initial for name, run in runs.items()}
    after = {name: run.task_at(CHANGE_S) for name, run in runs.items()}
    mass = {name: (before[name].payload.mass_kg, after[name].payload.mass_kg) for name in runs}
    assert mass["pickup"][0] == 0.0 and 0.5 <= mass["pickup"][1] <= 3.0
    assert 0.5 <= mass["drop"][0] <= 3.0 and mass["drop"][1] == 0.0
    assert mass["heavy"][0] == 0.0 and 3.0 <= mass["heavy"][1] <= 4.0
    assert after["swing"].swing and not before["swing"].swing
    assert mass["friction_step"][0] == mass["friction_step"][1] > 0.0
    assert not np.array_equal(before["friction_step"].coulomb_nm, after["friction_step"].coulomb_nm)
    trained = TRAIN.coulomb_ratio[1] * PANDA.effort_limit
    assert np.all(after["friction"].coulomb_nm >= trained) and np.all(after["friction"].coulomb_nm <= 2 * trained)
    assert not runs["undisturbed"].changes and mass["undisturbed"] == (0.0, 0.0)
    assert runs["pickup"].task_at(CHANGE_S - 0.001) is before["pickup"]


def test_motors_and_latency_stay_through_a_change() -> None:
    for run in suite(PANDA, "heldout", range(3)):
        after = run.task_at(CHANGE_S)
        np.testing.assert_array_equal(run.initial.motor_strength, after.motor_strength)
        assert (run.initial.command_delay_s, run.initial.sensor_delay_s) == (
            after.command_delay_s,
            after.sensor_delay_s,
        )


def test_required_effort_holds_the_loaded_arm() -> None:
    task = draw_task(PANDA, np.random.default_rng(3))
    effort = required_effort(PANDA, task, Hold(PANDA.home), np.zeros(1))[0]
    # friction creeps
    np.testing.assert_allclose(effort, ArmPlant(PANDA, task).applied_effort / task.motor_strength, atol=1e-3)


def test_load_and_weak_motors_use_more_torque() -> None:
    empty, rest = nominal_task(PANDA), Hold(PANDA.home)
    loaded = replace(empty, payload=Payload(3.0, [0.1, 0.0, 0.0], [0.01] * 3 + [0.0] * 3))
    weak = replace(loaded, motor_strength=np.full(7, 0.8))
    uses = [simulation(PANDA).effort_use(task, rest, 0.0, 1.0) for task in (empty, loaded, weak)]
    assert uses[0] < uses[1]
    assert uses[2] == pytest.approx(uses[1] / 0.8)
