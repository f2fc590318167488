# SPDX-License-Identifier: Apache-2.0
"""`metarl train-policy` and `metarl eval-policy`: files, JSON, Ctrl-C, and bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from metarl_robot.cli.app import app

SMALL = ("train-policy", "point-navigation", "--tasks", "3", "--episodes", "3", "--hidden", "8")
EVENTS = ("tensorboard",) if find_spec("tensorboard") else ()
SHIPPED = str(Path(__file__).resolve().parents[2] / "models" / "policies" / "point-navigation" / "pg.safetensors")


def metarl(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_training_writes_checkpoint_curve_and_figure_and_evaluation_reads_them(place: Path) -> None:
    done = metarl(*SMALL, "--iterations", "2", "--json")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    folder = place / "runs" / "policies" / "point-navigation"
    assert {path.name for path in folder.iterdir()} == {
        f"maml_pg.{end}" for end in ("safetensors", "json", "jsonl", "png", *EVENTS)
    }
    assert "train: 2/2" in done.stderr and str(record["file"]) in done.stderr
    assert (folder / "maml_pg.png").read_bytes().startswith(b"\x89PNG")

    quick = ("--tasks", "3", "--episodes", "3")
    done = metarl("eval-policy", "point-navigation", record["file"], "--steps", "2,0", "--json", *quick)
    found = json.loads(done.stdout)
    assert (found["family"], found["algo"], list(found["steps"])) == ("point-navigation", "maml_pg", ["0", "2"])
    keys = {"return_mean", "return_ci95"}
    assert [set(score) for score in found["steps"].values()] == [keys, keys | {"gain_mean", "gain_ci95"}]

    done = metarl("eval-policy", "point-navigation", record["file"], "--plot", "adapted.svg", *quick)
    assert done.exit_code == 0 and "gradient steps" in done.stdout
    assert f"{found['steps']['0']['return_mean']:.2f}" in done.stdout, "the same seed, the same tasks"
    assert (place / "adapted.svg").is_file()

    done = metarl("info", record["file"])
    assert record["sha256"] in done.stdout and "train-policy point-navigation --iterations 2" in done.stdout


@pytest.mark.slow
def test_ctrl_c_keeps_the_run(place: Path) -> None:
    arguments = [sys.executable, "-m", "metarl_robot", *SMALL, "--iterations", "400"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and process.stderr.readline().startswith("train: 1/400")
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() == 130, said
    assert "--iterations 400" in said and "--resume" in said and "Traceback" not in said
    folder = place / "runs" / "policies" / "point-navigation"
    done = len((folder / "maml_pg.jsonl").read_text().splitlines())
    assert 1 <= done < 400 and (folder / "maml_pg.state").is_file()
    refused = metarl(*SMALL, "--iterations", "400")
    assert refused.exit_code == 2 and "--resume" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "given", "allowed"),
    [
        (("train-policy", "point-navigatio"), "'point-navigatio'", "panda-reach, planar2-reach, point-navigation"),
        (("train-policy", "point-navigation", "--algo", "ppo"), "'ppo'", "maml_pg, pg, promp, rl2"),
        (("train-policy", "point-navigation", "--device", "tpu"), "'tpu'", "auto, cpu, cuda"),
        (("train", "planar2", "--device", "tpu"), "'tpu'", "auto, cpu, cuda"),
        (("train", "planar2", "--device", "cuda", "--logs", "x.mcap"), "--device", "no effect with --logs"),
        (("eval-policy", "planar2-reach", "--rate", "0.5"), "--rate", "adapts by its state"),
        (("train-policy", "point-navigation", "--iterations", "0"), "--iterations", "greater than or equal to 1"),
        (("train-policy", "point-navigation", "--hidden", "8,0"), "--hidden", "greater than or equal to 1"),
        (("train-policy", "point-navigation", "--inner-rate", "nan"), "--inner-rate", "finite"),
        (("eval-policy", "point"), "'point'", "point-navigation"),
        (("eval-policy", "point-navigation", "--algo", "ppo"), "'ppo'", "maml_pg, pg"),
        (("eval-policy", "point-navigation", "--steps", "0,-1"), "'-1'", "0 … 100"),
        (("eval-policy", "point-navigation", "--rate", "nan"), "nan", "above 0"),
        (("eval-policy", "point-navigation", "--steps", "0,½"), "'½'", "0 … 100"),
        (("eval-policy", "point-navigation", "none.safetensors"), "none.json", "metarl train-policy point-navigation"),
        (("eval-policy", "point-navigation", "weights.pt"), "weights.pt", ".safetensors"),
        (("eval-policy", "half-cheetah-direction", SHIPPED), "'point-navigation'", "'half-cheetah-direction'"),
        (("eval-policy", "half-cheetah-velocity"), "no weights are shipped", "train-policy half-cheetah-velocity"),
        (("eval-policy", "point-navigation", "--plot", "x.txt"), "x.txt", ".png"),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(
    place: Path, arguments: tuple[str, ...], given: str, allowed: str
) -> None:
    done = metarl(*arguments)
    said = " ".join(done.stderr.split())
    assert done.exit_code == 2, done.stdout + done.stderr
    assert given in said and allowed in said
    assert done.stdout == "" and not list(place.iterdir()), "nothing is begun"
