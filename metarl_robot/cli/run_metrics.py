# SPDX-License-Identifier: Apache-2.0
"""Metrics of a recorded run: the scores of `metarl eval`, and the estimates of its reports."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metarl_robot.cli.runlog import Array, Event, RunLog, Series
from metarl_robot.core.quantities import Estimate, Report, quantities
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Status
from metarl_robot.sim.episode_scores import EpisodeResult, score
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.run_log import Log
from metarl_robot.sim.scenario import Scenario
from metarl_robot.trajectories.splines import Hold

_EARLY_S = 1.0
_STAGE_S = 5.0  # errors after a change count for this time
_FAILED = list(Status).index(Status.FAILED)


@dataclass(frozen=True)
class ReportResult:
    """A report's quantities at the end of a run.

    truth: (k,) true values, NaN if none were recorded. last, early: the estimate at the end, and one second after the
    report's last change; None without one.
    """

    report: Report
    truth: Array
    last: Estimate | None = None
    early: Estimate | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data.

        The keys are the quantities' names without the report's: 'true_mass_kg'; x, y and z are one list: 'true_com_m'.
        """
        belief = None if self.last is None or self.early is None else self._belief(self.last, self.early)
        return {**self._row("true_{}_{}", self.truth), "belief": belief}

    def _belief(self, last: Estimate, early: Estimate) -> dict[str, Any]:
        return {
            **self._row("{}_{}", last.mean),
            **self._row("{}_std_{}", last.std),
            **self._row("early_{}_{}", early.mean, scored=True),
            **self._row("early_{}_std_{}", early.std, scored=True),
        }

    def _row(self, key: str, values: Array, scored: bool = False) -> dict[str, Any]:
        """Values (k,) under keys with stem and unit; of all quantities, or of those that are scored."""
        row: dict[str, Any] = {}
        for quantity, value in zip(self.report.quantities, values.tolist(), strict=True):
            stem, axis = quantity.axis
            name = key.format(stem.removeprefix(f"{self.report.name}_"), quantity.suffix)
            if quantity.scored or not scored:
                row[name] = [*row.get(name, ()), value] if axis else value
        return row


@dataclass(frozen=True)
class Stage:
    """Errors after a change that is not the first.

    rmse_transient_m: root mean square over the first second. rmse_after_m: from then until 5 s after the change, or
    until the next change.
    """

    event: Event
    rmse_transient_m: float
    rmse_after_m: float

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        errors = {"rmse_transient_m": self.rmse_transient_m, "rmse_after_m": self.rmse_after_m}
        return {"time_s": self.event.time_s, "what": self.event.what, **errors}


@dataclass(frozen=True)
class Result:
    """Results of a run.

    label: name of the run. missed_deadlines: steps that finished after their control period. steps: number of steps;
    smaller than the number of states if some were not answered. score: of the first change, up to the second. stages:
    of the other changes. reports: of the robot, in order.
    """

    label: str
    score: EpisodeResult
    reports: tuple[ReportResult, ...]
    missed_deadlines: int
    steps: int
    stages: tuple[Stage, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields of an episode of `metarl eval --json`, and the additional ones of a run over ROS."""
        stages = [stage.to_dict() for stage in self.stages]
        return {
            **self.score.to_dict(),
            "missed_deadlines": self.missed_deadlines,
            "steps": self.steps,
            **{result.report.name: result.to_dict() for result in self.reports},
            "stages": stages,
        }


def result_of(run: RunLog, scenario: str, seed: int) -> Result:
    """Compute the results of a recorded run; scenario and seed: names of its conditions.

    Metrics for which the run is too short are NaN.
    """
    robot = load_robot(run.robot)
    first = run if len(run.events) < 2 else run.until(run.events[1].time_s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # means of empty windows
        conditions, settled_m = _scenario(robot, first, scenario, seed), simulation(robot).settled_m
        scores = score(run.controller, conditions, _log(first), run.violations, settled_m)
        stages = _stages(run)
    median, p99 = np.percentile(run.step_ms, (50, 99))
    failed = int(np.sum(run.status == _FAILED))
    scores = replace(
        scores,
        failed_steps=failed,
        step_ms_median=float(median),
        step_ms_p99=float(p99),
        crashed=run.crash_s is not None,
    )
    reports = tuple(_report_result(run, report) for report in robot.reports)
    return Result(run.label, scores, reports, run.missed_deadlines, len(run.step_ms), stages)


def _stages(run: RunLog) -> tuple[Stage, ...]:
    ends = [*(event.time_s for event in run.events[2:]), np.inf]
    return tuple(
        _stage(run, event, min(end, event.time_s + _STAGE_S)) for event, end in zip(run.events[1:], ends, strict=False)
    )


def _stage(run: RunLog, event: Event, end_s: float) -> Stage:
    early = (run.time_s >= event.time_s - 1e-9) & (run.time_s < event.time_s + _EARLY_S - 1e-9)
    late = (run.time_s >= event.time_s + _EARLY_S - 1e-9) & (run.time_s < end_s - 1e-9)
    return Stage(event, *(float(np.sqrt(np.mean(run.error_m[window] ** 2))) for window in (early, late)))


def _scenario(robot: Robot, run: RunLog, name: str, seed: int) -> Scenario[Any]:
    """The run's conditions as far as scores need them: the times of its changes."""
    nominal = simulation(robot).nominal_task()
    changes = tuple((event.time_s, nominal) for event in run.events)
    return Scenario(
        name, nominal, changes, Hold(robot.home), float(run.time_s[-1]) + run.period_s, seed, noise_seed=seed
    )


def _log(run: RunLog) -> Log:
    """The run's states in the form of an evaluation log.

    The controller's steps are not included: some states may be unanswered, so they are counted separately.
    """
    (mean, std), (truth, _) = (_held(run, series) for series in (run.estimates, run.truth))
    return Log(
        times=run.time_s,
        q=run.q,
        v=run.v,
        q_reference=run.q_reference,
        v_reference=run.v_reference,
        effort=run.effort,
        position=run.position_m,
        position_reference=run.position_reference_m,
        status=np.full(len(run.time_s), Status.SOLVED.value),
        step_s=np.zeros(len(run.time_s)),
        quantities=quantities(load_robot(run.robot)),
        estimate=mean,
        estimate_std=std,
        truth=truth,
        crash_s=run.crash_s,
        angle_error=run.angle_error_rad,
    )


def _held(run: RunLog, series: Mapping[str, Series]) -> tuple[Array, Array]:
    """Latest mean and std (N, k) of all quantities at each state; NaN before the first and without any."""
    parts = [(np.zeros((len(run.time_s), 0)),) * 2]
    for report in load_robot(run.robot).reports:
        nothing = np.full((len(run.time_s), len(report.quantities)), np.nan)
        parts.append(series[report.name].held(run.time_s) if report.name in series else (nothing, nothing))
    mean, std = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    return mean, std


def _report_result(run: RunLog, report: Report) -> ReportResult:
    truth, estimate = run.truth.get(report.name), run.estimates.get(report.name)
    end = float(run.time_s[-1])
    true_values = np.full(len(report.quantities), np.nan) if truth is None else truth.at(end).mean
    if estimate is None:
        return ReportResult(report, true_values)
    change = [float(run.time_s[0]), *(event.time_s for event in run.events if event.report == report.name)][-1]
    return ReportResult(report, true_values, estimate.at(end), estimate.at(change + _EARLY_S))
