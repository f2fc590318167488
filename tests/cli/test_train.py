# SPDX-License-Identifier: Apache-2.0
"""Training from the command line: quick, interruptible, repeatable by the command that it writes down."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from metarl_robot.cli.app import app

SMALL = (
    "--tasks",
    "20",
    "--duration-s",
    "1.2",
    "--steps",
    "60",
    "--batch",
    "4",
    "--learned",
    "2",
    "--hidden",
    "8",
    "--threads",
    "1",
)
SCORED = ("--score-tasks", "4")


def metarl(*arguments: str, cwd: Path) -> Result:
    with chdir(cwd):
        return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(folder where it was trained, the record that was printed)."""
    place = tmp_path_factory.mktemp("train")
    done = metarl("train", "planar2", *SMALL, *SCORED, "--unloaded-start", "false", "--json", cwd=place)
    assert done.exit_code == 0, done.stderr
    assert "learn: 60/60" in done.stderr
    record = json.loads(done.stdout)
    assert record["scores"]["prediction"]["tasks"] == 4
    return place, record


@pytest.mark.slow
def test_it_writes_checkpoint_record_and_figure(trained: tuple[Path, dict[str, Any]]) -> None:
    folder = trained[0] / "runs" / "train" / "planar2"
    assert {"dynamics.safetensors", "dynamics.json", "dynamics.svg"} == {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_info_shows_what_trained_it(trained: tuple[Path, dict[str, Any]]) -> None:
    place, record = trained
    done = metarl("info", record["file"], "--json", cwd=place)
    shown = json.loads(done.stdout)
    assert shown["sha256"] == record["sha256"]
    assert shown["config"]["tasks"] == 20
    assert shown["config"]["hidden"] == [8]


@pytest.mark.slow
def test_a_checkpoint_altered_by_one_byte_is_refused(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    place, record = trained
    source = place / record["file"]
    content = bytearray(source.read_bytes())
    content[-1] ^= 1
    (tmp_path / "x.safetensors").write_bytes(content)
    (tmp_path / "x.json").write_bytes(source.with_suffix(".json").read_bytes())
    done = metarl("info", "x.safetensors", cwd=tmp_path)
    assert done.exit_code == 2
    assert "SHA-256" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_interrupted_and_resumed_gives_the_weights_of_the_recorded_command(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    arguments = [*shlex.split(trained[1]["command"])[1:], *SCORED, "--out", "w"]
    process = subprocess.Popen(
        [sys.executable, "-m", "metarl_robot", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("learn: 1/"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "--resume" in said
    assert "Traceback" not in said
    assert (tmp_path / "w" / "learn.state").is_file()

    refused = metarl(*arguments, cwd=tmp_path)
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr

    done = metarl(*arguments, "--resume", "--json", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["sha256"] == trained[1]["sha256"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tasks", "3", "greater than or equal to 20"),
        ("--learned", "-1", "--learned"),
        ("--groups", "payload,wings", "wings"),
        ("--hidden", "a", "--hidden"),
    ],
)
def test_settings_out_of_range_are_refused_by_the_options_name(
    tmp_path: Path, option: str, value: str, message: str
) -> None:
    done = metarl("train", "planar2", option, value, cwd=tmp_path)
    assert done.exit_code == 2
    assert option in done.stderr
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
