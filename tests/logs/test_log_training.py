# SPDX-License-Identifier: Apache-2.0
"""Priors and noise from recordings: the true ones are found, held-out recordings judge, nothing is overwritten."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.cli.app import app
from metarl_robot.core.checkpoint import default_checkpoint, load_checkpoint
from metarl_robot.core.robot import MODELS_DIR, load_robot
from metarl_robot.logs.empirical_prior import EmpiricalBayes, Task
from metarl_robot.logs.log_training import simulated
from metarl_robot.sim.payload.body import Payload
from tests.logs.made_log import Machine, default_names, draw_task, make, write_csv

ROBOT = load_robot("planar2")
NOISE = np.array([0.1, 0.3])
RUNNER = CliRunner()


def tasks_of(prior: Prior, count: int, rng: np.random.Generator, cells: int = 60) -> list[Task]:
    """Recordings whose contexts are drawn from a prior."""
    made = []
    for z in rng.multivariate_normal(prior.mean, prior.covariance, count):
        phi = rng.normal(size=(cells, 2, 3))
        force = phi @ z + NOISE * rng.normal(size=(cells, 2))
        made.append(Task(phi, force, rng.random((cells, 2)) < 0.9))
    return made


def test_the_prior_and_the_noise_that_made_the_recordings_are_found() -> None:
    rng = np.random.default_rng(1000)
    factor = np.array([[0.5, 0.0, 0.0], [0.3, 0.2, 0.0], [0.0, -0.1, 0.4]])
    true, base = Prior(np.array([1.0, -2.0, 0.5]), factor @ factor.T), Prior(np.zeros(3), np.eye(3))
    tasks = tasks_of(true, 300, rng)
    learned = EmpiricalBayes(tasks, base, np.zeros(3, dtype=bool), np.ones(2)).fit(range(300), 1.0)
    np.testing.assert_allclose(learned.prior.mean, true.mean, atol=0.1)
    np.testing.assert_allclose(learned.prior.covariance, true.covariance, atol=0.06)
    np.testing.assert_allclose(learned.noise, NOISE, rtol=0.05)
    np.testing.assert_allclose(learned.correlated, 1.0, atol=0.15)


def test_held_out_recordings_tell_a_common_machine_from_machines_like_those_of_the_training() -> None:
    rng, base = np.random.default_rng(1001), Prior(np.zeros(3), np.eye(3))
    gains = {}
    for name, prior in {"one machine": Prior(np.array([1.0, -1.0, 1.5]), 1e-3 * np.eye(3)), "many": base}.items():
        tasks = tasks_of(prior, 4, rng)
        bayes = EmpiricalBayes(tasks, base, np.zeros(3, dtype=bool), np.ones(2))
        others, levels = [0, 1, 2], bayes.fit([0, 1, 2], np.inf)
        learned = bayes.fit(others, 1.0).prior
        gains[name] = bayes.evidence(3, learned, levels) - bayes.evidence(3, base, levels)
    assert gains["one machine"] > 1.0, gains
    assert gains["many"] < gains["one machine"], gains


def test_entries_that_can_be_removed_keep_their_prior() -> None:
    rng = np.random.default_rng(1002)
    mixed = np.array([[1.0, 0.4, 0.0], [0.4, 1.0, 0.2], [0.0, 0.2, 1.0]])
    base, kept = Prior(np.zeros(3), mixed), np.array([True, False, False])
    tasks = tasks_of(Prior(np.array([2.0, 1.0, -1.0]), 0.01 * np.eye(3)), 20, rng)
    made = EmpiricalBayes(tasks, base, kept, np.ones(2)).fit(range(20), 1.0).prior
    assert made.mean[0] == 0.0 and made.mean[1] == pytest.approx(1.0, abs=0.15)
    given = np.linalg.solve(made.covariance[1:, 1:], made.covariance[1:, 0])
    before = np.linalg.solve(mixed[1:, 1:], mixed[1:, 0])
    np.testing.assert_allclose(given, before, atol=1e-6, err_msg="its relation to the other entries stays")
    assert np.linalg.eigvalsh(made.covariance).min() > 0.0
    assert made.covariance[1, 1] < 0.5 * base.covariance[1, 1]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], np.ndarray]:
    """Recordings of one machine with weak motors without and with a payload, and its friction."""
    folder, machine = tmp_path_factory.mktemp("logs"), Machine(hz=100.0, coulomb=0.02, effort_noise_nm=0.02)
    task = draw_task(ROBOT, machine, np.random.default_rng(1003))
    task = replace(task, motor_strength=np.array([0.85, 0.88]))
    paths = []
    for i, mass in enumerate((0.0, 0.4)):
        carried = Payload(mass, np.zeros(3), 1e-3 * mass * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
        made = make(ROBOT, machine, 1003 + i, 4.0, replace(task, payload=carried if mass else Payload()))
        path = folder / f"log{i}.csv"
        paths.append(str(write_csv(path, made, default_names(ROBOT), made.q, made.v, made.effort)))
    return paths, task.coulomb_nm


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of one's own with the weights of simulated tasks."""
    return Path(shutil.copytree(MODELS_DIR / "planar2", tmp_path / "planar2"))


def test_weights_from_recordings_are_found_by_the_robot(own: Path, logs: tuple[list[str], np.ndarray]) -> None:
    paths, coulomb = logs
    before = load_checkpoint(own / "dynamics.safetensors")
    done = RUNNER.invoke(app, ["train", str(own), "--logs", *paths])
    assert done.exit_code == 2 and "exists: choose another --out, or replace it with --force" in done.output
    done = RUNNER.invoke(app, ["train", str(own), "--logs", *paths, "--force"])
    assert done.exit_code == 0 and "(logs)" in done.output and "Chosen:" in done.output, done.output
    robot = load_robot(str(own))
    made = load_checkpoint(default_checkpoint(robot), robot)
    names = made.meta["context_names"]
    motors = [names.index(name) for name in names if name.startswith("motor")]
    np.testing.assert_allclose(made.tensors["prior_mean"][motors], [-0.15, -0.12], atol=0.06)
    frictions = [names.index(name) for name in names if name.startswith("coulomb")]
    error, earlier = (np.abs(each.tensors["prior_mean"][frictions] - coulomb).sum() for each in (made, before))
    assert error < 0.7 * earlier
    payload = names.index("payload_mass_kg")
    assert made.tensors["prior_mean"][payload] == 0.0
    rows = made.meta["scores"]["held_out_logs"]["rows"]
    after = {name: row["after"][0]["error_percent_of_limit"] for name, row in rows.items()}
    assert after["last_layer (logs)"] < after["last_layer"], after
    assert after["regression (logs)"] < 1.1 * after["regression"], after
    again = simulated(made)
    np.testing.assert_array_equal(again.tensors["prior_mean"], before.tensors["prior_mean"])
    assert len(made.meta["logs"]["recordings"]) == 2 and made.meta["before_logs"]["command"] == before.meta["command"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--logs", "LOG"], "learning needs at least 2"),
        (["--logs", "LOG", "LOG", "--steps", "10"], "--steps has no effect with --logs"),
        (["--logs", "LOG", "LOG", "--resume"], "--resume has no effect with --logs"),
        (["--force"], "--map and --force are of recordings"),
        (["LOG"], "unexpected argument: "),
        (["--logs", "nothing.csv"], "there is no such file or folder"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, logs: tuple[list[str], np.ndarray], arguments: list[str], words: str
) -> None:
    given = [logs[0][0] if each == "LOG" else each for each in arguments]
    done = RUNNER.invoke(app, ["train", "planar2", "--out", str(tmp_path), *given])
    assert done.exit_code == 2 and words in " ".join(done.output.split()), done.output
    assert not list(tmp_path.iterdir())
