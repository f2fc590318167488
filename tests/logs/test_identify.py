# SPDX-License-Identifier: Apache-2.0
"""Identification recovers hidden parameters with honest standard errors, and writes robots that predict better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metarl_robot.adaptation.factory import make_adapter, weights_of
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.cli.app import app
from metarl_robot.core.errors import RobotError
from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.dynamics.link_regressor import LinkRegressor, link_parameters, links_of
from metarl_robot.logs.balance_rows import Layout
from metarl_robot.logs.base_parameters import base_parameters
from metarl_robot.logs.body_coordinates import BodyCoordinates
from metarl_robot.logs.cells import measure
from metarl_robot.logs.identified_document import document
from metarl_robot.logs.identified_folder import folder_files
from metarl_robot.logs.identify import Identified, identify
from metarl_robot.logs.most_probable import autocorrelation
from metarl_robot.logs.recording import LogError, Recording
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.new_robot.folder import write_folder
from metarl_robot.sim.arm.task import nominal_task
from tests.logs.identified import MACHINES, examine, recordings_of
from tests.logs.made_log import Machine, Made, default_names, write_csv
from tests.test_robot_from_file import CASES, made_from

RUNNER = CliRunner()
PLANAR, PANDA = load_robot("planar2"), load_robot("panda")
MACHINE = Machine(hz=250.0, links=0.2, strength=0.05)


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=lambda robot: robot.name)
def test_links_make_the_nominal_momentum_and_force(robot: MjcfRobot) -> None:
    rng, regressor = np.random.default_rng(1000), LinkRegressor(robot)
    q, v = rng.normal(size=(100, robot.dof)), rng.normal(size=(100, robot.dof))
    nominal = np.concatenate([link_parameters(robot.mj_model, link) for link in regressor.links])
    by_momentum, by_beta = regressor(q, v)
    _, momentum, beta = ArmDynamics(robot).momenta(q, v)
    np.testing.assert_allclose(by_momentum @ nominal + robot.mj_model.dof_armature * v, momentum, atol=1e-10)
    np.testing.assert_allclose(by_beta @ nominal - np.ravel(robot.mj_model.dof_damping) * v, beta, atol=1e-10)


def test_every_point_of_the_coordinates_is_a_body_that_can_exist() -> None:
    rng = np.random.default_rng(1000)
    for link in LinkRegressor(PANDA).links:
        nominal = link_parameters(PANDA.mj_model, link)
        body = BodyCoordinates(nominal)
        np.testing.assert_allclose(body.parameters(np.zeros(10)), nominal, rtol=1e-3, atol=1e-4)
        for _ in range(20):
            m, hx, hy, hz, xx, yy, zz, xy, xz, yz = body.parameters(2.0 * rng.normal(size=10))
            inertia, moment = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]), np.array([hx, hy, hz])
            second = 0.5 * np.trace(inertia) * np.eye(3) - inertia
            pseudo = np.block([[second, moment[:, None]], [moment[None], np.array([[m]])]])
            values = np.linalg.eigvalsh(pseudo)
            assert m > 0.0 and values[0] > -1e-12 * values[-1]


def test_base_parameters_are_all_that_motion_shows() -> None:
    regressor, rng = LinkRegressor(PANDA), np.random.default_rng(1000)
    layout = Layout(len(regressor.links), 7)
    base = base_parameters(PANDA, regressor, layout)
    assert len(base.names) == 48  # the 43 of a Panda, and the rotors of the last five joints
    columns = [*range(70), *range(layout.of("armature").start, layout.of("armature").stop)]
    _, _, axes = np.linalg.svd(base.matrix[:, columns])
    hidden = axes[len(base.names) :].T
    q, v = rng.normal(size=(50, 7)), rng.normal(size=(50, 7))
    by_momentum, by_beta = regressor(q, v)
    assert np.abs(by_beta @ hidden[:70]).max() < 1e-8
    assert np.abs(by_momentum @ hidden[:70] + v[:, :, None] * hidden[70:]).max() < 1e-8


def test_autocorrelation_is_that_of_a_moving_average() -> None:
    noise = np.random.default_rng(1000).normal(size=40_004)
    mean_of_four = np.convolve(noise, np.ones(4) / 4.0, mode="valid")
    assert autocorrelation([mean_of_four], [np.ones(len(mean_of_four), dtype=bool)]) == pytest.approx(4.0, rel=0.15)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return recordings_of(PLANAR, MACHINE, 1000, 3, 8.0)[1]


@pytest.fixture(scope="module")
def found(recordings: list[Recording]) -> Identified:
    return identify(PLANAR, recordings[:2])


@pytest.mark.parametrize("seed", [1001, 1002])
def test_hidden_parameters_are_within_twice_their_standard_errors(seed: int) -> None:
    done = examine(PLANAR, MACHINE, seed, 8.0)
    errors = np.concatenate(list(done.errors.values()))
    assert np.mean(np.abs(errors) < 2.0) > 0.9 and np.abs(errors).max() < 3.5
    assert np.median(done.shown["coulomb"]) < 0.2 and np.median(done.shown["base"]) < 0.8
    assert done.held_out < 0.5 and done.fresh < 0.5


@pytest.mark.slow
def test_hidden_parameters_of_seven_joints_are_found_with_motors_of_other_strength() -> None:
    done = examine(PANDA, MACHINES["links ±20 %, motors ±10 %, 1 kHz"], 1010, 10.0)
    errors = np.concatenate(list(done.errors.values()))
    assert np.mean(np.abs(errors) < 2.0) > 0.9 and np.abs(errors).max() < 4.0
    assert np.median(done.shown["base"]) < 0.5 and done.fresh < 0.25


def test_a_parameter_that_the_motion_does_not_show_keeps_its_prior(recordings: list[Recording]) -> None:
    held = [Recording(r.source, r.time_s, r.q.copy(), r.v.copy(), r.effort.copy()) for r in recordings[:2]]
    for each in held:
        each.q[:, 1], each.v[:, 1] = 0.7, 0.0
        effort = ArmDynamics(PLANAR).inverse_dynamics(each.q, each.v, np.gradient(each.v, each.time_s, axis=0))
        each.effort[:] = effort + 0.1 * np.tanh(each.v / 0.02)
    done = identify(PLANAR, held)
    shoulder, elbow = document(done)["joints"]
    by_name = {each["name"]: each for each in elbow["parameters"]}
    assert elbow["moving_s"] == 0.0
    for name in ("armature", "viscous", "coulomb", "strength"):
        assert not by_name[name]["shown"] and abs(by_name[name]["sigmas"]) < 0.01
    coulomb = next(each for each in shoulder["parameters"] if each["name"] == "coulomb")
    assert coulomb["shown"] and coulomb["after"] == pytest.approx(0.1, abs=0.03)


def test_a_robot_at_rest_is_refused() -> None:
    time_s = np.arange(0.0, 5.0, 0.004)
    q = np.tile(PLANAR.home, (len(time_s), 1))
    with pytest.raises(LogError, match="no joint moves for 3 s"):
        identify(PLANAR, [Recording("rest", time_s, q, 0.0 * q, 0.0 * q)])


def test_a_push_counts_little(recordings: list[Recording], found: Identified) -> None:
    pushed = recordings[0].effort.copy()
    during = (recordings[0].time_s > 3.0) & (recordings[0].time_s < 3.3)
    pushed[during] += PLANAR.effort_limit
    changed = Recording("pushed", recordings[0].time_s, recordings[0].q, recordings[0].v, pushed)
    done, at = identify(PLANAR, [changed, recordings[1]]), found.problem.layout.of("coulomb")
    std = np.sqrt(np.diagonal(found.x_covariance))[at]
    assert np.all(np.abs(done.x[at] - found.x[at]) < 3.0 * std)


def csv_of(recording: Recording, path: Path) -> str:
    made = Made(recording.time_s, recording.q, recording.v, recording.effort)
    return str(write_csv(path, made, default_names(PLANAR), made.q, made.v, made.effort))


def test_the_command_writes_a_robot_that_predicts_better(recordings: list[Recording], tmp_path: Path) -> None:
    logs = [csv_of(each, tmp_path / f"{i}.csv") for i, each in enumerate(recordings)]
    folder = tmp_path / "new"
    arguments = ["log", "identify", "planar2", *logs[:2], "-o", str(folder)]
    done = RUNNER.invoke(app, [*arguments, "--json", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    assert "cross-validation" in done.output and "base inertial parameters" in done.output
    content = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert json.loads((folder / "identification.json").read_text(encoding="utf-8")) == content
    robot = load_robot(folder)
    missed = [
        np.sqrt(np.mean(measure(ArmDynamics(each), recordings[2]).residual ** 2, axis=0)) for each in (PLANAR, robot)
    ]
    assert np.all(missed[1] < missed[0])
    for joint, name in zip(content["joints"], robot.channel_names, strict=True):
        after = {each["name"]: each["after"] for each in joint["parameters"]}
        j = robot.channel_names.index(name)
        assert robot.mj_model.dof_armature[j] == pytest.approx(after["armature"], rel=1e-5)
        assert robot.coulomb[j] == pytest.approx(after["coulomb"], rel=1e-5)
        assert robot.motor_strength[j] == pytest.approx(after["strength"], rel=1e-5)
    again = RUNNER.invoke(app, arguments)
    assert again.exit_code == 2 and "--force" in again.output
    assert RUNNER.invoke(app, [*arguments, "--force"]).exit_code == 0


def test_a_model_with_included_files_is_written_whole(recordings: list[Recording], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "arm.xml").write_bytes((PLANAR.folder / "robot.xml").read_bytes())
    (source / "robot.xml").write_text('<mujoco model="planar2"><include file="arm.xml"/></mujoco>', encoding="utf-8")
    (source / "robot.yaml").write_bytes((PLANAR.folder / "robot.yaml").read_bytes())
    done = identify(load_robot(source), recordings[:2])
    write_folder(tmp_path / "new", folder_files(done, document(done)), load_robot)
    model, layout = load_robot(tmp_path / "new").mj_model, done.problem.layout
    for i, link in enumerate(links_of(model)):
        expected = done.problem.nominal[layout.link(i)] + done.x[layout.link(i)]
        np.testing.assert_allclose(link_parameters(model, link), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["urdf: fixed heavy tool", "mjcf: slide", "mjcf: inertia from geoms"])
def test_robots_made_from_files_are_identified_and_written(name: str, tmp_path: Path) -> None:
    _, robot = made_from(tmp_path, CASES[name].text, CASES[name].options)
    logs = recordings_of(robot, Machine(links=0.2, hz=250.0), 1000, 2, 6.0)[1]
    done = identify(robot, logs)
    assert done.over_nominal(robot.effort_limit) < 0.3
    write_folder(tmp_path / "new", folder_files(done, document(done)), load_robot)
    model, layout = load_robot(tmp_path / "new").mj_model, done.problem.layout
    for i, link in enumerate(links_of(model)):
        expected = done.problem.nominal[layout.link(i)] + done.x[layout.link(i)]
        np.testing.assert_allclose(link_parameters(model, link), expected, rtol=1e-6, atol=1e-9)


def test_one_log_is_predicted_part_by_part(recordings: list[Recording], tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["log", "identify", "planar2", csv_of(recordings[0], tmp_path / "a.csv"), "--json", "-"])
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert len(content["held_out"]) == 5 and content["over_nominal"] < 1.0


def test_nothing_is_written_where_held_out_logs_are_not_predicted_better(tmp_path: Path) -> None:
    time_s = np.arange(0.0, 8.0, 0.004)
    v = np.stack([np.sin(3.0 * time_s), np.cos(2.0 * time_s)], axis=1)
    q = PLANAR.home + np.stack([-np.cos(3.0 * time_s) / 3.0, np.sin(2.0 * time_s) / 2.0], axis=1)
    effort = ArmDynamics(PLANAR).inverse_dynamics(q, v, np.gradient(v, time_s, axis=0))
    conditions = {"weak": 0.8, "strong": 1.2}  # two machines
    logs = [
        csv_of(Recording(name, time_s, q, v, effort / k), tmp_path / f"{name}.csv") for name, k in conditions.items()
    ]
    done = RUNNER.invoke(app, ["log", "identify", "planar2", *logs, "-o", str(tmp_path / "new")])
    assert done.exit_code == 1 and "nothing is written" in done.output
    assert not (tmp_path / "new").exists()


def with_effects(folder: Path, text: str) -> Path:
    folder.mkdir()
    for name in ("robot.xml", "robot.yaml"):
        (folder / name).write_bytes((PLANAR.folder / name).read_bytes())
    with (folder / "robot.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\neffects: {text}\n")
    return folder


def test_tasks_and_adapters_begin_with_the_effects_of_robot_yaml(tmp_path: Path) -> None:
    robot = load_robot(with_effects(tmp_path / "arm", "{coulomb: [0.05, 0.02], motor_strength: [0.9, 1.1]}"))
    task = nominal_task(robot)
    np.testing.assert_allclose([task.coulomb_nm, task.motor_strength], [[0.05, 0.02], [0.9, 1.1]])
    weights = weights_of("last_layer", PLANAR, None)
    adapter = make_adapter("last_layer", robot, ArmDynamics(robot), AdapterTuning(40.0, 0.005), weights)
    adapter.reset()
    context = adapter.update(State(robot.home, np.zeros(2)), np.zeros(2), robot.control_period_s)
    for name, expected in {"coulomb_1_nm": 0.05, "coulomb_2_nm": 0.02, "motor_1_strength_error": -0.1}.items():
        assert context.mean[context.names.index(name)] == pytest.approx(expected, abs=0.01)


def test_effects_of_another_number_of_joints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="effects: coulomb must have a number for each of 2 joints; given 1"):
        load_robot(with_effects(tmp_path / "arm", "{coulomb: [0.05], motor_strength: [0.9, 1.1]}"))
