# SPDX-License-Identifier: Apache-2.0
"""The command as a program: exit codes, streams, and how quickly its help is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "casadi", "mujoco", "rclpy", "matplotlib", "mcap")


def metarl(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "metarl_robot", *arguments], capture_output=True, text=True, cwd=cwd)


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, metarl_robot.cli.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", ["robots", "demo", "train", "eval", "train-policy", "eval-policy", "launch", "plot", "info"]
)
def test_every_command_has_help_with_examples(command: str) -> None:
    done = metarl(command, "--help")
    assert done.returncode == 0
    assert "Examples" in done.stdout
    assert f"metarl {command}" in done.stdout


def test_robots_json_is_only_json_and_complete() -> None:
    done = metarl("robots", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert {"panda", "planar2"} <= rows.keys()
    assert len(rows["panda"]["joints"]) == 7
    assert rows["panda"]["joints"][0]["effort_nm"] == 87.0


def test_robots_table_names_every_robot() -> None:
    done = metarl("robots")
    assert done.returncode == 0
    assert "panda" in done.stdout
    assert "planar2" in done.stdout


@pytest.mark.parametrize("arguments", [("fly",), ("robots", "--wings"), ("eval",), ("launch", "arm", "controller=pid")])
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    done = metarl(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "given", "valid"),
    [
        (("eval", "pandas"), "'pandas'", "planar2"),
        (("eval", "planar2", "--controllers", "pid,mpc"), "'mpc'", "computed_torque"),
        (("eval", "planar2", "--suite", "hard"), "'hard'", "heldout"),
        (("eval", "planar2", "--checkpoint", "weights.pt"), "weights.pt", ".safetensors"),
        (("train", "pandas"), "'pandas'", "planar2"),
        (("train", "planar2", "--adapter", "lst_layer"), "'lst_layer'", "maml"),
        (("demo", "pandas"), "'pandas'", "planar2"),
        (("demo", "planar2", "--controllers", "pid,mpc"), "'mpc'", "computed_torque"),
        (("launch", "arm", "robto:=panda"), "'robto'", "controller"),
        (("info", "pandas"), "'pandas'", "planar2"),
    ],
)
def test_unknown_names_are_answered_with_the_valid_ones(
    arguments: tuple[str, ...], given: str, valid: str, tmp_path: Path
) -> None:
    done = metarl(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert given in done.stderr
    assert valid in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir()), "nothing is begun"


@pytest.mark.slow
def test_debug_shows_the_traceback() -> None:
    done = metarl("--debug", "eval", "pandas")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UnknownNameError" in done.stderr
