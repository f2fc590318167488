# SPDX-License-Identifier: Apache-2.0
"""`metarl log check` and `metarl log eval`: tables, JSON, figures, exit codes, and errors in one paragraph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.core.robot import load_robot
from tests.logs.made_log import Machine, Made, default_names, make, write_bag, write_csv

RUNNER = CliRunner()
ROBOT = load_robot("planar2")


@pytest.fixture(scope="module")
def made() -> Made:
    return make(ROBOT, Machine(hz=200.0, mass_kg=0.4, com_m=(0.0, 0.0, 0.0), coulomb=0.01), 1000, 5.0)


@pytest.fixture(scope="module")
def bag(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "bag", made, extra=("gripper",))


def test_a_check_prints_a_verdict_and_leaves_json_and_a_figure(bag: Path, tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "check.json"), "--out", str(tmp_path / "check.svg")]
    done = RUNNER.invoke(app, ["log", "check", "planar2", str(bag), *files])
    assert done.exit_code == 0, done.output
    assert "usable" in done.output and "1 × joints that the robot does not have: ignored (gripper)" in done.output
    assert "shoulder" in done.output and "payload_mass_kg ±" in done.output
    (report,) = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert report["samples"] == 1000 and report["verdict"].startswith("usable") and report["repairs"][0]["count"] == 1
    assert (tmp_path / "check.svg").stat().st_size > 10_000


def test_an_unusable_recording_ends_with_exit_code_1(made: Made, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", made, default_names(ROBOT), made.q, made.v, -made.effort)
    done = RUNNER.invoke(app, ["log", "check", "planar2", str(path)])
    assert done.exit_code == 1
    assert "fault: efforts have the sign opposite" in done.output
    (tmp_path / "map.yaml").write_text("effort: {sign: [-1, -1]}")
    assert (
        RUNNER.invoke(app, ["log", "check", "planar2", str(path), "--map", str(tmp_path / "map.yaml")]).exit_code == 0
    )


def test_an_evaluation_scores_adapters_beside_rivals(bag: Path, made: Made, tmp_path: Path) -> None:
    files = ["--json", "-", "--figure", str(tmp_path / "eval.svg")]
    path = write_csv(tmp_path / "log.csv", made, default_names(ROBOT), made.q, made.v, made.effort)
    done = RUNNER.invoke(
        app, ["log", "eval", "planar2", str(bag), str(path), *files, "--adapters", "none,inertial", "--jobs", "1"]
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert list(document["rows"]) == ["nominal", "hold", "least_squares", "ridge", "inertial"]
    first, second = document["logs"]
    np.testing.assert_allclose(first["error_nm"]["ridge"], second["error_nm"]["ridge"], rtol=1e-3)
    assert first["rate_hz"] == pytest.approx(200.0, rel=0.01)
    for row in document["rows"].values():
        assert row["after"][0]["over_nominal"] <= 1.0 and row["after"][3] is None
    mass = np.array(first["estimates"]["inertial"]["payload"]["mean"])[-1, 0]
    std = np.array(first["estimates"]["inertial"]["payload"]["std"])[-1, 0]
    assert abs(mass - made.mass_kg) < 3.0 * std
    assert (tmp_path / "eval.svg").stat().st_size > 10_000


def test_the_tables_name_every_predictor(bag: Path) -> None:
    done = RUNNER.invoke(app, ["log", "eval", "planar2", str(bag), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    for name in ("nominal", "hold", "least_squares", "ridge", "disturbance_observer", "inertial", "last_layer"):
        assert name in done.output
    assert "after 10 s" in done.output and "mass [kg]" in done.output
    assert "samples at 200 Hz" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "planar2", "nothing.mcap"], "there is no such file or folder"),
        (["check", "planar2", "README.md"], "expected a rosbag2 folder"),
        (["eval", "x500", "log.csv"], "unknown column 'position_x_m'"),
        (["eval", "planar2", "log.csv", "--adapters", "lastlayer"], "Did you mean 'last_layer'"),
        (["check", "planar2", "log.csv", "--out", "check.doc"], "allowed: .svg, .png, .pdf"),
        (["check", "planar2", "log.csv", "--map", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_bad_input_ends_with_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# No log\n")
    write_csv(tmp_path / "log.csv", made, default_names(ROBOT), made.q, made.v, made.effort)
    done = RUNNER.invoke(app, ["log", *arguments])
    assert done.exit_code == 2 and words in " ".join(done.output.split()), done.output
    assert "Traceback" not in done.output


def test_any_recording_is_drawn(bag: Path, tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["plot", str(bag), "--robot", "planar2", "--out", str(tmp_path / "log.svg")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "log.svg").stat().st_size > 10_000
    done = RUNNER.invoke(app, ["plot", str(bag), "--robot", "planar2", "--out", str(tmp_path / "log.html")])
    assert done.exit_code == 2 and "allowed: .svg, .png, .pdf" in " ".join(done.output.split())


def test_a_bag_of_another_robot_is_refused(bag: Path) -> None:
    done = RUNNER.invoke(app, ["log", "eval", "panda", str(bag), "--jobs", "1"])
    assert done.exit_code == 2 and "there are: elbow, gripper, shoulder" in " ".join(done.output.split())
