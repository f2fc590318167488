# SPDX-License-Identifier: Apache-2.0
"""`metarl calibration`: table, JSON, figure, and draws that are kept between runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.sim import calibration

RUNNER = CliRunner()


def _row(kind: str, seed: int) -> dict[str, Any]:
    errors = {"error": 0.1 * seed, "std": 0.2, "exact_error": 0.05, "exact_std": 0.1}
    estimate = {"quantity": "payload_mass_kg", "title": "mass", "unit": "kg", "after_s": 1.0, "use": 0.5, **errors}
    row = {"robot": "planar2", "where": "heldout", "kind": kind, "seed": seed, "crashed": seed == 2}
    return {**row, "estimates": [] if row["crashed"] else [estimate]}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The draws that were run, in place of simulating them."""
    done: list[tuple[str, int]] = []

    def calibrate(robot: Any, suite: str, wanted: Any, jobs: int, finished: Any) -> None:
        for kind, seed in wanted:
            if seed == 4:
                raise KeyboardInterrupt
            done.append((kind, seed))
            finished(_row(kind, seed))

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    return done


def test_table_json_and_figure(tmp_path: Path, run: list[tuple[str, int]]) -> None:
    files = ["--json", str(tmp_path / "c.json"), "--plot", str(tmp_path / "c.svg"), "--out", str(tmp_path / "draws")]
    done = RUNNER.invoke(app, ["calibration", "planar2", "--draws", "9", *files])
    assert done.exit_code == 0, done.output
    assert "2σ holds" in done.output and "3 draws crashed" in done.output
    document = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert len(document["draws"]) == 9
    assert document["summary"][0]["count"] == 6 and document["summary"][0]["kind"] == ""
    assert (tmp_path / "c.svg").stat().st_size > 1000


def test_finished_draws_are_kept_after_ctrl_c(tmp_path: Path, run: list[tuple[str, int]]) -> None:
    command = ["calibration", "planar2", "--out", str(tmp_path), "--json", "-"]
    stopped = RUNNER.invoke(app, [*command, "--draws", "15"])
    assert stopped.exit_code == 130
    assert len(json.loads(stopped.stdout)["draws"]) == 12
    run.clear()
    again = RUNNER.invoke(app, [*command, "--draws", "12", "--resume"])
    assert again.exit_code == 0 and run == []
    more = RUNNER.invoke(app, [*command, "--draws", "3", "--seed", "7", "--resume"])
    assert run == [("pickup", 7), ("drop", 7), ("friction_step", 7)]
    assert len(json.loads(more.stdout)["draws"]) == 3


def test_an_unknown_suite_is_refused_with_those_there_are() -> None:
    done = RUNNER.invoke(app, ["calibration", "planar2", "--suite", "moon"])
    assert done.exit_code == 2
    assert "heldout" in done.output and "Traceback" not in done.output
