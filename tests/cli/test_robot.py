# SPDX-License-Identifier: Apache-2.0
"""`metarl robot new` and `metarl robot check`: files, origins, exit codes; nothing is asked without a terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core.robot import MODELS_DIR, load_robot
from metarl_robot.robots.new_robot.findings import Findings, Origin
from tests.robot_files import replaced, urdf


def metarl(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metarl_robot", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["new", "check"])
def test_help_has_examples(command: str, tmp_path: Path) -> None:
    done = metarl("robot", command, "--help", cwd=tmp_path)
    assert done.returncode == 0 and f"metarl robot {command} my_arm" in done.stdout


ARMATURE = ("--armature", "0.05")


@pytest.mark.slow
def test_from_a_urdf_to_a_controller(tmp_path: Path) -> None:
    (tmp_path / "six.urdf").write_text(urdf())
    made = metarl("robot", "new", "mine", "--from", "six.urdf", *ARMATURE, "--payload", 2, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    for part in ("axis_6", "guess", "default", "option", "held at"):
        assert part in made.stdout
    assert "upper.stl" in made.stderr and "metarl robot check mine" in made.stderr
    robot = load_robot(tmp_path / "mine")
    assert (robot.name, robot.dof, robot.description.payload.rated_mass_kg) == ("mine", 6, 2.0)
    np.testing.assert_array_equal(robot.mj_model.dof_armature, 0.05)
    checked = metarl("robot", "check", "mine", "--json", "--plot", "mine.svg", cwd=tmp_path)
    drawn = (tmp_path / "mine.svg").read_text()
    assert all(word in drawn for word in ("axis_6", "payload site", "error of nominal_mpc"))
    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert found["faults"] == [] and found["rmse_m"] < found["bound_m"]
    assert max(found["mass_difference"], found["bias_difference"]) < 1e-9
    again = metarl("robot", "new", "mine", "--from", "six.urdf", cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert load_robot(tmp_path / "mine").description.payload.rated_mass_kg == 2.0, "nothing was replaced"
    forced = metarl("robot", "new", "mine", "--from", "six.urdf", "--force", "--json", *ARMATURE, cwd=tmp_path)
    assert forced.returncode == 0, forced.stderr
    assert {"values", "changes", "warnings"} <= json.loads(forced.stdout).keys()
    assert load_robot(tmp_path / "mine").description.payload.rated_mass_kg != 2.0, "guessed"
    runs = metarl(
        *("eval", "mine", "--controllers", "nominal_mpc,offset_free_mpc", "--suite", "nominal", "--seeds", 1),
        *("--jobs", 1, "--json", "-"),
        cwd=tmp_path,
    )
    assert runs.returncode == 0, runs.stderr
    episodes = json.loads(runs.stdout)["episodes"]
    assert len(episodes) == 2 and max(each["rmse_after_m"] for each in episodes) < 1e-3


@pytest.mark.slow
def test_what_fails_is_one_sentence_and_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "six.urdf").write_text(replaced(urdf(), ('"axis_1" type="revolute"', '"axis_1" type="floating"')))
    for arguments in (("--from", "six.urdf"), ("--from", "none.urdf"), ("--from", "six.urdf", "--lock", "a")):
        done = metarl("robot", "new", "mine", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and done.stdout == ""
        assert "Traceback" not in done.stderr and done.stderr.startswith("error:")
    assert [path.name for path in tmp_path.iterdir()] == ["six.urdf"]


@pytest.mark.slow
def test_an_arm_that_cannot_hold_itself_does_not_pass(tmp_path: Path) -> None:
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "weak")
    text = (tmp_path / "weak" / "robot.yaml").read_text().replace("effort_nm: 40", "effort_nm: 4")
    (tmp_path / "weak" / "robot.yaml").write_text(text)
    done = metarl("robot", "check", "weak", cwd=tmp_path)
    assert done.returncode != 0
    assert "no motion of 'planar2' within 85%" in done.stderr
    done = metarl("robot", "check", "f1tenth", cwd=tmp_path)
    assert done.returncode == 2 and "kind 'ground' have no check" in done.stderr


CACHED = """
from os import getenv as _getenv
from os import path as _path

from ._cache import clone_to_cache as _clone_to_cache

REPOSITORY_PATH: str = _clone_to_cache("arms", commit=_getenv("ROBOT_DESCRIPTION_COMMIT", None))

PACKAGE_PATH: str = _path.join(REPOSITORY_PATH, "six")

URDF_PATH: str = _path.join(PACKAGE_PATH, "urdf", "six.urdf")
"""
REPOSITORIES = """
from types import SimpleNamespace

REPOSITORIES = {"arms": SimpleNamespace(cache_path="arms_repository")}
"""


def test_a_cached_description_is_found_by_name_and_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of the layout of robot_descriptions, whose `_cache` must not be imported: it would download."""
    from metarl_robot.core.errors import MetaRLError, MissingPackageError, UnknownNameError
    from metarl_robot.robots.new_robot import cached

    package = tmp_path / "site" / "stored_descriptions"
    package.mkdir(parents=True)
    content = {
        "__init__": "",
        "_cache": "raise RuntimeError('it would download')\n",
        "_repositories": REPOSITORIES,
        "six_description": CACHED,
        "macro_description": CACHED.replace("URDF_PATH", "XACRO_PATH").replace("six.urdf", "six.xacro"),
    }
    for name, text in content.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("ROBOT_DESCRIPTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cached, "_PACKAGE", "stored_descriptions")
    given = Path(f"{cached.PREFIX}six_description")
    with pytest.raises(MetaRLError, match="is not on this machine, and nothing is downloaded; fetch it with"):
        cached.find_source(given)
    folder = tmp_path / "cache" / "arms_repository" / "six"
    (folder / "urdf").mkdir(parents=True)
    (folder / "urdf" / "six.urdf").write_text(urdf())
    found = cached.find_source(given)
    assert found == cached.Found(folder / "urdf" / "six.urdf", (folder, folder.parent))
    assert cached.find_source(Path("six.urdf")) == cached.Found(Path("six.urdf"))
    with pytest.raises(MetaRLError, match=r"xacro .*six\.xacro > robot\.urdf"):
        cached.find_source(Path(f"{cached.PREFIX}macro_description"))
    with pytest.raises(UnknownNameError, match="six_description"):
        cached.find_source(Path(f"{cached.PREFIX}seven_description"))
    monkeypatch.setattr(cached, "_PACKAGE", "no_such_descriptions")
    with pytest.raises(MissingPackageError, match="no_such_descriptions"):
        cached.find_source(given)


def test_a_robot_that_tracks_badly_is_a_fault() -> None:
    from metarl_robot.sim.robot_check import Check

    good = Check((), 1e-12, 1e-12, 1e-4, 1e-3, 0, 0, ())
    assert good.faults == ()
    for change in ({"rmse_m": 2e-3}, {"bias_difference": 1e-3}, {"failed_steps": 1}, {"rmse_m": float("nan")}):
        assert Check(**{**vars(good), **change}).faults != ()


def test_answers_replace_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from metarl_robot.cli.robot_questions import ask

    findings = Findings()
    findings.add("payload", "rated mass", "2 kg", Origin.GUESS)
    findings.add("a", "velocity", "2 rad/s", Origin.GUESS)
    findings.add("a", "effort", "20 Nm", Origin.FILE)
    answers = iter(["3.5", ""])
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: next(answers))
    assert ask(findings) == {"payload_kg": 3.5}


def test_training_writes_into_a_robots_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metarl_robot.cli import train as command
    from metarl_robot.core.checkpoint import default_checkpoint
    from metarl_robot.learning.models.config import TrainConfig

    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    (tmp_path / "mine" / "dynamics.safetensors").unlink()
    folders = []
    monkeypatch.setattr(command, "_train", lambda report, robot, name, config, folder, *_: folders.append(folder))
    monkeypatch.setattr(command, "_conclude", lambda *_: None)
    for robot in (str(tmp_path / "mine"), "planar2"):
        command.train(robot=robot, target=None, resume=False, json=False, **TrainConfig().model_dump())
    assert folders == [default_checkpoint(load_robot(tmp_path / "mine")).parent, Path("runs/train/planar2")]
    assert (load_robot("planar2").argument, load_robot(tmp_path / "mine").argument) == (
        "planar2",
        str(tmp_path / "mine"),
    )
