# SPDX-License-Identifier: Apache-2.0
"""`metarl train-grbal` and `metarl eval grbal`: files, tables, JSON, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from metarl_robot.cli.app import app

SMALL = ("--first-episodes", "4", "--episodes", "2", "--iterations", "2", "--gradient-steps", "3", "--hidden", "8")
QUICK = ("--samples", "4", "--horizon", "2", "--score-seeds", "2")


def metarl(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_training_evaluation_and_info_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = metarl("train-grbal", "arm-mass", *SMALL, *QUICK, "--json")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    folder = tmp_path / "runs" / "grbal"
    assert {path.name for path in folder.iterdir()} == {
        f"arm-mass.{end}" for end in ("safetensors", "json", "jsonl", "png")
    }
    assert record["command"].startswith("metarl train-grbal arm-mass --iterations 2") and record["transitions"] == 600
    assert record["scores"]["seeds"] == [1000, 1001], "those of metarl eval are kept for it"
    assert "train: 2/2" in done.stderr and "compare: 2/2" in done.stderr

    arguments = ("eval", "grbal", "--env", "arm-mass", "--checkpoint", record["file"], "--seeds", "2")
    done = metarl(*arguments, "--planner", "random_shooting", "--plot", "compared.svg", "--json", "compared.json")
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "compared.json").read_text())
    assert (found["environment"], found["planner"], found["seeds"]) == ("arm-mass", "random_shooting", [0, 1])
    assert list(found["models"]) == ["adapted", "unadapted", "plain", "fine_tuned"]
    assert f"{found['models']['fine_tuned']['k_step_error_mean']:.3f}" in done.stdout
    assert "16-step error" in done.stdout and "0.01 h" in done.stdout
    assert (tmp_path / "compared.svg").is_file()

    done = metarl("info", record["file"])
    assert done.exit_code == 0 and record["data_sha256"] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "given", "allowed"),
    [
        (("train-grbal", "arm-masses"), "'arm-masses'", "Did you mean 'arm-mass'"),
        (("train-grbal", "point-navigation"), "'point-navigation'", "half-cheetah-cripple"),
        (("train-grbal", "arm-mass", "--planner", "cem"), "--planner", "random_shooting"),
        (("train-grbal", "arm-mass", "--memory", "90"), "--memory 90", "at most 100"),
        (("train-grbal", "arm-mass", "--learning-rate", "nan"), "--learning-rate", "finite"),
        (("eval", "grbal"), "--env", "arm-mass"),
        (("eval", "grbal", "--env", "arm"), "'arm'", "arm-mass"),
        (("eval", "grbal", "--env", "arm-mass", "--seeds", "1"), "--seeds 1", "2 and more"),
        (("eval", "grbal", "--env", "arm-mass", "--suite", "train"), "--suite", "--planner"),
        (("eval", "grbal", "--env", "arm-mass", "--checkpoint", "no.safetensors"), "no.json", "train-grbal arm-mass"),
        (("eval", "panda", "--env", "arm-mass"), "--env", "metarl eval grbal"),
    ],
)
def test_bad_input_names_the_given_and_the_allowed(
    arguments: tuple[str, ...], given: str, allowed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = metarl(*arguments)
    said = " ".join(done.stderr.split())
    assert done.exit_code == 2 and given in said and allowed in said, said
