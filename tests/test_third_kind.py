# SPDX-License-Identifier: Apache-2.0
"""A kind of robot from outside: tests/point_mass, found by its entry point, without a line about it in the package.

It runs evaluation, training and the gate; tests/ros/test_third_kind.py launches it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metarl_robot
from metarl_robot.adaptation.factory import make_adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.control.factory import make_controller, node_controller_names
from metarl_robot.core.errors import SignalError
from metarl_robot.core.kinds import BUILT_IN, kind_names
from metarl_robot.core.quantities import quantities
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.safety.fallback_law import gate_config, law_of
from metarl_robot.safety.gate import Gate, GateState
from metarl_robot.sim.dataset import collect
from metarl_robot.sim.euclidean_batch import EuclideanBatch
from metarl_robot.sim.evaluate import evaluate, run_one
from metarl_robot.sim.faults_run import run_fault
from metarl_robot.sim.kinds import simulation, task_from_dict
from metarl_robot.trajectories.flat_outputs import flat_outputs_of
from metarl_robot.trajectories.splines import Hold

CHANGE_S = 5.0


@pytest.fixture(scope="module")
def puck(point_mass: Path) -> Robot:
    return load_robot(point_mass)


@pytest.fixture(scope="module")
def part(point_mass: Path) -> Any:
    """A module of the package by name."""
    return lambda name: import_module(f"point_mass.{name}")


def drawn(puck: Robot, seed: int) -> Any:
    return simulation(puck).rollout_maker().draw_task(np.random.default_rng(seed), None)


def test_it_is_found_by_its_entry_point_and_the_package_does_not_know_it(puck: Robot) -> None:
    assert "point_mass" in kind_names() and "point_mass" not in BUILT_IN
    assert (puck.kind, puck.dof, puck.nu) == ("point_mass", 2, 2)
    assert node_controller_names(puck.kind) == ("point_pd", "point_adaptive")
    package = Path(metarl_robot.__file__).parent
    folders = [package, *(path.resolve() for path in package.iterdir() if path.is_symlink())]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".c", ".yaml")]
    assert len(files) > 250 and [path for path in files if "point_mass" in path.read_text(encoding="utf-8")] == []


def test_its_context_holds_no_payload(puck: Robot) -> None:
    names = [quantity.name for quantity in quantities(puck)]
    assert names == ["ground_drag_n_s_m", "ground_slope_x_rad", "ground_slope_y_rad"]
    task = drawn(puck, 0)
    assert not any("payload" in name for name in task.to_dict())
    assert task_from_dict("point_mass", task.to_dict()).to_dict() == task.to_dict()
    np.testing.assert_array_equal(simulation(puck).plant(task).quantities, [task.drag_n_s_m, *task.slope_rad])


def test_its_features_are_the_force_that_its_simulation_adds(puck: Robot, part: Any) -> None:
    ground, dynamics = part("ground"), part("dynamics").PointMassDynamics(puck)
    features = ground.FEATURES.build(puck, dynamics, None)
    for seed in range(3):
        task, rng = drawn(puck, seed), np.random.default_rng(seed)
        plant = simulation(puck).plant(task)
        plant.reset(rng.normal(size=2), rng.normal(size=2))
        effort = np.array([3.0, -2.0])
        plant.step(effort, 0.05)
        v, a = plant.truth.v, plant.acceleration
        xi = Xi(plant.truth.q[None], v[None], a[None], effort[None], np.zeros((2, 1, 2)))
        residual = dynamics.mass_kg * a - task.motor_strength * effort
        truth = ground.FEATURES.truth(puck, task)
        np.testing.assert_allclose(features.value(xi, truth)[0], residual, atol=2e-2)  # a slope is not its sine
        step = 1e-6
        for k in range(2):
            moved = replace(xi, v=xi.v + step * np.eye(2)[k])
            slope = (features.value(moved, truth) - features.value(xi, truth))[0] / step
            np.testing.assert_allclose(features.jacobian(xi, truth)[0, :, 2 + k], slope, atol=1e-6)


def test_every_condition_acts_in_the_plant_and_in_the_batch_equally(puck: Robot) -> None:
    room = simulation(puck)
    nominal, task = room.nominal_task(), replace(drawn(puck, 1), sensor_delay_s=0.003)
    tasks = [nominal, *(replace(nominal, **{f.name: getattr(task, f.name)}) for f in fields(task))]
    efforts = 5.0 * np.random.default_rng(0).normal(size=(40, 2))
    batch = EuclideanBatch(puck, room.model(), tasks, [7] * len(tasks))
    states = [batch.reset(np.zeros((len(tasks), 2)), np.full((len(tasks), 2), 0.3))]
    states += [batch.step(np.tile(effort, (len(tasks), 1))) for effort in efforts]
    seen = np.array([np.concatenate([state.q, state.v], axis=1) for state in states])
    for i, one in enumerate(tasks):
        plant = room.plant(one, 7)
        alone = [plant.reset(np.zeros(2), np.full(2, 0.3)), *(plant.step(u, puck.control_period_s) for u in efforts)]
        np.testing.assert_array_equal(seen[:, i], [np.concatenate([s.q, s.v]) for s in alone])
        assert i == 0 or np.abs(seen[:, i] - seen[:, 0]).max() > 1e-7, fields(task)[i - 1].name


def test_an_observer_learns_the_force_of_the_ground(puck: Robot, part: Any) -> None:
    dynamics, task = part("dynamics").PointMassDynamics(puck), drawn(puck, 2)
    adapter = make_adapter("disturbance_observer", puck, dynamics, AdapterTuning(10.0))
    plant, still = simulation(puck).plant(task), np.zeros(2)
    effort = -dynamics.mass_kg * 9.81 * -task.slope_rad / task.motor_strength  # it stays about where it is
    adapter.update(plant.reset(), effort, puck.control_period_s)
    for _ in range(400):
        adapter.update(plant.step(effort, puck.control_period_s), effort, puck.control_period_s)
    truth = dynamics.mass_kg * plant.acceleration - effort
    xi = Xi(still[None], still[None], still[None], effort[None], np.zeros((2, 1, 2)))
    np.testing.assert_allclose(adapter.evaluate(xi)[0], truth, atol=0.1)


@pytest.mark.slow
def test_it_is_evaluated_in_processes_of_the_command_line(point_mass: Path) -> None:
    command = [sys.executable, "-m", "metarl_robot", "eval", str(point_mass), "--controllers", "point_pd"]
    done = subprocess.run([*command, "--seeds", "2", "--jobs", "2", "--json", "-"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["episodes"]
    assert len(rows) == 2 and all(row["rmse_m"] < 0.1 and not row["failed_steps"] for row in rows)
    assert {"ground_drag_error_n_s_m", "ground_drag_std_n_s_m"} <= set(rows[0])
    assert not any("payload" in name for name in rows[0])
    assert rows[0]["joint_rmse_after_rad"] is None  # it has no angles


@pytest.mark.slow
def test_it_is_trained_and_then_knows_its_ground(puck: Robot, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra [train]")
    from metarl_robot.learning.models.config import TrainConfig
    from metarl_robot.sim.training import train

    report = train(puck, TrainConfig(tasks=40, steps=4, learned=0), tmp_path, score_tasks=3)
    rows = report.checkpoint.meta["scores"]["prediction"]["rows"]
    assert rows["last_layer"][-1]["rmse_nm"] < 0.7 * rows["none"][-1]["rmse_nm"]
    adaptive = run_one(puck, "heldout", "ground", 0, "point_adaptive", report.path)
    plain = evaluate(puck, "heldout", ["point_pd"], [0]).episodes[0]
    assert adaptive.result.rmse_after_m < 0.5 * plain.rmse_after_m
    error, std = (adaptive.result.estimates[f"ground_drag_{what}_n_s_m"] for what in ("error", "std"))
    assert abs(error) < max(4 * std, 0.5)
    assert adaptive.log.truth[0, 0] != adaptive.log.truth[-1, 0]  # the ground changed


def test_its_training_data_are_reproducible(puck: Robot) -> None:
    once, again = (collect(puck, 4, 1, duration_s=0.3, threads=threads) for threads in (1, 2))
    assert once.sha256() == again.sha256() and once.kind == "point_mass"


def test_the_gate_stops_it_when_commands_stop(puck: Robot) -> None:
    gate, period = Gate(puck, gate_config(puck)()), puck.control_period_s
    plant = simulation(puck).plant(drawn(puck, 3))
    state = plant.reset(np.zeros(2), np.array([0.8, -0.4]))
    for k in range(600):
        now_s = k * period
        gate.on_state(state, now_s, now_s)
        if k < 20:
            gate.on_command(np.array([0.5, 0.2]), now_s, now_s)
        decision = gate.tick(now_s, now_s)
        assert np.all(np.abs(decision.effort) <= puck.effort_limit)
        state = plant.step(decision.effort, period)
        assert k >= 20 or decision.state is GateState.PASSING
    assert decision.state is GateState.HOLDING
    assert np.abs(plant.truth.v).max() < 0.02 and np.all(np.abs(plant.truth.q) < puck.position_upper)


@pytest.mark.parametrize("fault", ["nan", "sensor_drop", "gate_stopped"])
def test_no_fault_of_the_campaign_is_unsafe(puck: Robot, fault: str) -> None:
    run = run_fault(puck, fault, 1, make_controller(puck, "point_pd"))
    assert not run.unsafe and not run.crashed and run.velocity_violations == 0


def test_messages_are_in_its_words_and_units(puck: Robot) -> None:
    with pytest.raises(SignalError, match=r"position of axis 'y' reaches 9\.0000 m at .*\[-1\.5000, 1\.5000\] m"):
        flat_outputs_of(puck).check(Hold(np.array([0.0, 9.0])), 0.0, 1.0)
    law = law_of(puck)(puck, gate_config(puck)())
    danger = law.danger(State(np.zeros(2), np.array([0.0, -5.0])))
    assert danger.reason == "axis 'y' moves at -5.00 m/s (limit 2.00 m/s)"
