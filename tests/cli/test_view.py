# SPDX-License-Identifier: Apache-2.0
"""`metarl view`: moments of a recorded run, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.cli.runlog import RunLog, Series
from metarl_robot.cli.view import moment_at
from metarl_robot.core.robot import load_robot


def run_log() -> RunLog:
    """A second of a Panda at 10 Hz; the payload's estimate appears at 0.5 s."""
    robot = load_robot("panda", check_model=False)
    times, still = np.arange(11) / 10.0, np.zeros((11, 3))
    q = np.tile(robot.home, (11, 1))
    report = next(report for report in robot.reports if report.name == "payload")
    means = np.arange(1.0, 1.0 + len(report.quantities))[None]
    estimates = {"payload": Series(report, np.array([0.5]), means, 0.1 * means)}
    off = still + [0.0, 0.0, 0.002]
    rest = {"label": "x", "violations": 0, "truth": {}, "period_s": 0.1, "angle_error_rad": q}
    steps = {"step_time_s": times[1:], "step_ms": times[1:], "status": np.zeros(10, int), "late": np.zeros(10, bool)}
    motion = {"q": q, "q_reference": q, "v": q, "v_reference": q, "effort": q, "time_s": times}
    places = {"position_m": still, "position_reference_m": off}
    return RunLog(robot="panda", controller="x", estimates=estimates, **rest, **steps, **motion, **places)


def test_a_moment_is_the_newest_of_its_time() -> None:
    run = run_log()
    moment = moment_at(run, 0.76)
    assert moment.time_s == pytest.approx(0.7) and moment.step_ms == pytest.approx(0.7)
    assert moment.error_m == pytest.approx(0.002) and moment.estimates["payload mass"][0] == 1.0
    assert moment_at(run, -1.0).time_s == 0.0 and moment_at(run, 0.05).step_ms is None
    assert moment_at(run, 99.0).time_s == pytest.approx(1.0)


def test_unknown_robots_and_mixed_arguments_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("mjviser", reason="needs the extra [view]")
    answer = CliRunner().invoke(app, ["view", "pandaa"])
    assert answer.exit_code == 2 and "pandaa" in answer.output
    answer = CliRunner().invoke(app, ["view", "panda", str(tmp_path)])
    assert answer.exit_code == 2 and "one robot, or recordings only" in " ".join(answer.output.split())


def test_without_its_packages_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl_robot.view.find_spec", lambda name: None)
    answer = CliRunner().invoke(app, ["view", "panda"])
    assert answer.exit_code != 0 and "pip install 'metarl_robot[view]'" in " ".join(answer.output.split())
