# SPDX-License-Identifier: Apache-2.0
"""A run read from a recording is scored as the evaluation scores it; estimates and true values stay apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.cli import run_tables
from metarl_robot.cli.report import headline, write_report
from metarl_robot.cli.run_metrics import ReportResult, result_of
from metarl_robot.cli.runlog import Event, RunLog, Series
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.payload import PAYLOAD
from metarl_robot.robots.quadrotor.wind_report import WIND
from metarl_robot.sim.episode import Episode, run_episode
from metarl_robot.sim.evaluate import run_one
from metarl_robot.sim.kinds import simulation

CHANGE_S = 5.0


@pytest.fixture(scope="module")
def episode() -> Episode:
    robot = load_robot("planar2")
    return run_episode(
        robot,
        lambda _: make_controller(robot, "computed_torque"),
        simulation(robot).scenario("heldout", "pickup", 3),
        "computed_torque",
    )


def recorded(
    robot: str, episode: Episode, truth: Series, estimate: Series | None, what: str, angle_error: np.ndarray
) -> RunLog:
    """An episode as if it had been recorded."""
    log, report = episode.log, truth.report.name
    return RunLog(
        robot=robot,
        controller=episode.result.controller,
        label=episode.result.controller,
        time_s=log.times,
        position_m=log.position,
        position_reference_m=log.position_reference,
        q=log.q,
        q_reference=log.q_reference,
        v=log.v,
        v_reference=log.v_reference,
        angle_error_rad=angle_error,
        effort=log.effort,
        step_time_s=log.times,
        step_ms=1e3 * log.step_s,
        status=np.zeros(len(log.times), int),
        late=np.arange(len(log.times)) % 400 == 0,
        violations=episode.result.violations,
        truth={report: truth},
        estimates={} if estimate is None else {report: estimate},
        period_s=float(log.times[1]),
        events=(Event(CHANGE_S, what, report),),
    )


@pytest.fixture(scope="module")
def run(episode: Episode) -> RunLog:
    """A recording with a controller that believes 0.9 of the mass from 0.5 s after the change."""
    payload, log = episode.scenario.changes[0][1].payload, episode.log
    values = np.array([np.zeros(4), [payload.mass_kg, *payload.com_m]])
    truth = Series(PAYLOAD, np.array([0.0, CHANGE_S]), values, np.zeros((2, 4)))
    std = np.array([[0.3, *(0.01,) * 3], [0.1, *(0.01,) * 3]])
    belief = Series(PAYLOAD, np.array([0.0, CHANGE_S + 0.5]), values * [0.9, 1.0, 1.0, 1.0], std)
    return recorded("planar2", episode, truth, belief, "payload attached", log.q - log.q_reference)


def test_scores_are_those_of_the_evaluation(episode: Episode, run: RunLog) -> None:
    result = result_of(replace(run, estimates={}), episode.scenario.name, episode.scenario.seed)
    times = {"step_ms_median": 0.0, "step_ms_p99": 0.0}
    assert replace(result.score, **times) == replace(episode.result, **times)
    assert result.score.step_ms_median == pytest.approx(episode.result.step_ms_median)
    assert result.score.step_ms_p99 == pytest.approx(episode.result.step_ms_p99)
    assert result.missed_deadlines == 5


def test_mass_error_is_belief_minus_truth_one_second_after_the_change(run: RunLog) -> None:
    mass = run.truth["payload"].mean[-1, 0]
    result = result_of(run, "pickup", 3)
    assert result.score.estimates["payload_mass_error_kg"] == pytest.approx(-0.1 * mass)
    assert result.score.estimates["payload_mass_std_kg"] == pytest.approx(0.1)
    row = result.to_dict()["payload"]
    assert row["belief"]["early_mass_kg"] == pytest.approx(0.9 * mass)
    assert row["true_mass_kg"] == mass


def test_json_keys_come_from_the_quantities_and_are_those_of_earlier_releases(run: RunLog) -> None:
    com = run.truth["payload"].mean[-1, 1:].tolist()
    row = result_of(run, "pickup", 3).to_dict()["payload"]
    assert row["true_com_m"] == row["belief"]["com_m"] == com
    keys = {"mass_kg", "mass_std_kg", "early_mass_kg", "early_mass_std_kg", "com_m", "com_std_m"}
    assert set(row["belief"]) == keys and set(row) == {"true_mass_kg", "true_com_m", "belief"}
    wind = ReportResult(WIND, np.array([3.0, 4.0, 0.0]))
    assert wind.to_dict() == {"true_wind_m_s": [3.0, 4.0, 0.0], "belief": None}


def test_states_that_were_not_answered_count_for_the_error_but_not_as_steps(episode: Episode, run: RunLog) -> None:
    answered = np.arange(0, len(run.time_s), 2)
    sparse = replace(
        run, **{name: getattr(run, name)[answered] for name in ("step_time_s", "step_ms", "status", "late")}
    )
    result = result_of(replace(sparse, status=np.full(len(answered), 2)), "pickup", 3)
    assert result.score.rmse_after_m == episode.result.rmse_after_m
    assert result.steps == result.score.failed_steps == len(answered)


def test_a_run_cut_short_ends_there_everywhere(run: RunLog) -> None:
    short = run.until(6.0)
    assert short.time_s[-1] == pytest.approx(6.0)
    assert len(short.error_m) == len(short.step_ms) == len(short.time_s) == 1201


def test_tables_show_the_truth_beside_the_belief_and_a_dash_without_one(run: RunLog) -> None:
    blind = result_of(replace(run, estimates={}), "pickup", 3)
    results, mass = [result_of(run, "pickup", 3), replace(blind, label="other")], run.truth["payload"].mean[-1, 0]
    table = run_tables.report_tables(results)["payload"]
    truth, believing, other = (row.cells for row in table.rows)
    assert table.columns[1:3] == ("early mass\n[kg]", "mass\n[kg]")
    assert truth[1] == truth[2] == f"{mass:.3f}"
    assert believing[1] == f"{0.9 * mass:.3f} ± 0.100"
    assert set(other[1:]) == {"–"}


def test_headline_has_this_runs_numbers(run: RunLog) -> None:
    result = result_of(run, "pickup", 3)
    first, second = headline([run], [result])
    assert f"mass {run.truth['payload'].mean[-1, 0]:.2f} kg" in first
    assert "At 5 s" in first
    assert f"{1e3 * result.score.rmse_after_m:.3g}"[:3] in second


@pytest.fixture(scope="module")
def ground(point_mass: Path) -> RunLog:
    """A recording of a kind from outside, without angles, that reports its ground."""
    robot = load_robot(point_mass)
    episode = run_one(robot, "heldout", "ground", 0, "point_pd")
    log, (report,) = episode.log, robot.reports
    kept = [0, int(np.searchsorted(log.times, CHANGE_S))]
    truth = Series(report, log.times[kept], log.truth[kept], np.zeros((2, 3)))
    belief = Series(report, log.times[::100], 1.1 * log.truth[::100], np.full((len(log.times[::100]), 3), 0.01))
    return recorded(str(point_mass), episode, truth, belief, "other ground", np.zeros((len(log.times), 0)))


def test_another_kind_s_report_is_scored_and_in_the_json(ground: RunLog) -> None:
    result, truth = result_of(ground, "ground", 0), ground.truth["ground"].mean[-1]
    assert result.score.estimates["ground_drag_error_n_s_m"] == pytest.approx(0.1 * truth[0])
    row = result.to_dict()["ground"]
    assert row["true_drag_n_s_m"] == truth[0] and row["true_slope_rad"] == truth[1:].tolist()
    assert row["belief"]["early_drag_std_n_s_m"] == 0.01


def test_another_kind_s_report_has_its_table_and_figure_and_no_angles(ground: RunLog, tmp_path: Path) -> None:
    result = result_of(ground, "ground", 0)
    page = write_report(tmp_path / "report.html", [ground], [result], {}, []).read_text(encoding="utf-8")
    assert page.count("<svg") == 4, "tracking, ground, computation, efforts"
    assert "<h2>Ground" in page and "At 5 s: other ground (drag " in page and "slope along x" in page
    assert "ngle errors" not in page and "ayload" not in page
