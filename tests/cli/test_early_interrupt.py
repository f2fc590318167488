# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while a command still imports its modules, in itself or in its worker processes: no traceback, 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

EVAL = ("eval", "planar2", "--controllers", "pid", "--seeds", "2", "--jobs", "2")
PATIENT_S = 120.0  # before giving up; never part of a verdict


def started(folder: Path, *words: str, python: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """The command in a group of its own, as a terminal starts it; SIGINT is not ignored there."""
    return subprocess.Popen(
        [sys.executable, *python, "-m", "metarl_robot", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def interrupted(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code as a shell reports it, and the lines on standard error, without Python's report of imports."""
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=PATIENT_S)[1].splitlines()
    code = process.returncode
    return 128 - code if code < 0 else code, [line for line in said if not line.startswith("import time:")]


@pytest.mark.parametrize(
    ("words", "module"),
    [
        *((EVAL, module) for module in ("typer", "numpy", "rich", "mujoco")),
        (("demo", "planar2"), "mujoco"),
        (("train", "planar2"), "metarl_robot.cli.view"),
        (("eval-policy", "point-navigation"), "metarl_robot.cli.view"),
        (("launch", "arm"), "pydantic"),
        (("bench", "mpc", "--quick"), "metarl_robot.cli.view"),
        (("faults",), "pydantic"),
        (("plot", "nothing"), "typer"),
        (("info",), "metarl_robot.cli.view"),
    ],
)
def test_ctrl_c_during_imports_is_quiet(words: tuple[str, ...], module: str, tmp_path: Path) -> None:
    process = started(tmp_path, *words, python=("-X", "importtime"))
    assert process.stderr is not None
    for line in process.stderr:
        if line.rpartition("|")[2].strip() == module:
            break
    code, said = interrupted(process)
    assert code == 130 and len(said) <= 1, said


@pytest.mark.parametrize("later_s", [0.5, 3.0])
def test_no_worker_is_left_behind_by_a_killed_command(later_s: float, tmp_path: Path) -> None:
    process = started(tmp_path, *EVAL[:-4], "--seeds", "50", "--jobs", "2")
    assert process.stderr is not None and process.stderr.readline().startswith("episodes: 0/")
    sleep(later_s)
    process.terminate()
    process.communicate(timeout=PATIENT_S)  # until the last of its processes has closed standard error
    assert process.returncode != 0


@pytest.mark.parametrize("later_s", [0.05, 0.3, 0.6, 1.0])
def test_ctrl_c_while_workers_start_is_quiet(later_s: float, tmp_path: Path) -> None:
    process = started(tmp_path, *EVAL)
    assert process.stderr is not None and process.stderr.readline().startswith("episodes: 0/")
    sleep(later_s)
    code, said = interrupted(process)
    assert code == 130 and "Traceback" not in "\n".join(said) and len(said) <= 2, said
