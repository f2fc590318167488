# SPDX-License-Identifier: Apache-2.0
"""The demo of a quadrotor over real ROS 2 nodes, in lockstep and in short form; and its conditions without any."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.cli.recording import read_run
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

CONTROLLERS = ("nominal_mpc", "offset_free_mpc")


@pytest.mark.parametrize("name", ["x500", "hummingbird", "crazyflie"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_quadrotor_can_fly_its_demo(name: str, seed: int) -> None:
    robot = load_robot(name)
    task = simulation(robot).demo(seed)
    assert [change.time_s for change in task.changes] == [5.0, 10.0]
    payload = task.changes[0].task.payload
    assert 0.05 * robot.mass_kg < payload.mass_kg <= 0.3 * robot.mass_kg
    assert task.changes[1].task.payload is payload and np.linalg.norm(task.changes[1].task.wind.mean_m_s) > 1.0
    flat = flat_outputs_of(robot)
    eight = flat.paced(flat.motion("figure_eight", np.random.default_rng(seed), 15.0), task.pace)
    for change, end_s in zip(task.changes, (10.0, 15.0), strict=True):
        assert simulation(robot).effort_use(change.task, eight, change.time_s, end_s) <= 0.9 + 1e-9
    assert task.pace > 0.7


def test_a_payload_that_cannot_be_carried_is_refused() -> None:
    with pytest.raises(MetaRLError, match="a payload of 2.00 kg needs"):
        simulation(load_robot("x500")).demo(0, payload_mass_kg=2.0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """(folder of a finished demo, its JSON output)."""
    place = tmp_path_factory.mktemp("demo")
    arguments = [
        sys.executable,
        "-m",
        "metarl_robot",
        "demo",
        "quad",
        "--controllers",
        ",".join(CONTROLLERS),
        "--lockstep",
    ]
    done = subprocess.run([*arguments, "--duration", "12", "--json"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (place / "runs").iterdir()
    (folder / "stderr.txt").write_text(done.stderr)
    return folder, json.loads(done.stdout)


@pytest.mark.ros
def test_it_leaves_report_summary_and_recordings(demo: tuple[Path, dict]) -> None:
    folder, printed = demo
    assert {"report.html", "summary.json", *CONTROLLERS} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "summary.json").read_text()) == printed
    assert re.search(r"x500, nominal_mpc: +[\d.]+ of 12 s +error [\d.]+ mm", (folder / "stderr.txt").read_text())


@pytest.mark.ros
def test_payload_and_wind_are_felt_and_the_adaptive_controller_copes(demo: tuple[Path, dict]) -> None:
    nominal, adaptive = demo[1]["episodes"]
    for row in (nominal, adaptive):
        assert row["violations"] == row["failed_steps"] == 0 and not row["crashed"]
        assert row["payload"]["true_mass_kg"] == pytest.approx(0.2 * load_robot("x500").mass_kg)
        (stage,) = row["stages"]
        assert stage["time_s"] == pytest.approx(10.0) and stage["what"].startswith("wind")
    assert nominal["rmse_after_m"] > 3.0 * nominal["rmse_before_m"], "it is not told of the payload"
    assert adaptive["rmse_after_m"] < 0.3 * nominal["rmse_after_m"]
    assert adaptive["stages"][0]["rmse_after_m"] < 0.5 * nominal["stages"][0]["rmse_after_m"]


@pytest.mark.ros
def test_the_recording_is_the_whole_run(demo: tuple[Path, dict]) -> None:
    run = read_run(demo[0] / "nominal_mpc")
    assert (run.robot, run.controller) == ("x500", "nominal_mpc")
    assert [event.what for event in run.events][0] == "payload attached" and run.events[1].what.startswith("wind")
    assert run.crash_s is None and run.time_s[0] == 0.0 and run.time_s[-1] >= 12.0
    assert round(float(np.diff(run.time_s).max() / run.period_s)) == 1
    assert np.allclose(np.linalg.norm(run.q_reference[:, 3:], axis=1), 1.0)
    assert run.angle_error_rad.shape == (len(run.time_s), 3) and np.abs(run.angle_error_rad).max() < 0.5


@pytest.mark.ros
def test_the_report_speaks_of_a_quadrotor(demo: tuple[Path, dict]) -> None:
    page = (demo[0] / "report.html").read_text()
    assert page.count("<svg") >= 4
    assert "At 5 s: payload attached" in page and "wind" in page and "rotor1" in page
    assert "end effector" not in page and "flange" not in page
