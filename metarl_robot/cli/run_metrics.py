# SPDX-License-Identifier: Apache-2.0
"""Metrics of a recorded run: the scores of `metarl eval`, and the payload estimate."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from metarl_robot.cli.runlog import Array, Event, Payload, RunLog
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Status
from metarl_robot.robots.payload import PAYLOAD
from metarl_robot.sim.episode import EpisodeResult, Log, score
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.scenario import Scenario
from metarl_robot.trajectories.splines import Hold

_EARLY_S = 1.0
_STAGE_S = 5.0  # errors after a change count for this time
_FAILED = list(Status).index(Status.FAILED)


@dataclass(frozen=True)
class Belief:
    """Payload estimate at the end, and (early) one second after the change. com_m, com_std_m: (3,)."""

    mass_kg: float
    mass_std_kg: float
    early_mass_kg: float
    early_mass_std_kg: float
    com_m: tuple[float, ...]
    com_std_m: tuple[float, ...]


@dataclass(frozen=True)
class PayloadResult:
    """The true payload at the end of a run, and its estimate; None without one."""

    true_mass_kg: float
    true_com_m: tuple[float, ...]
    belief: Belief | None


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
    of the other changes.
    """

    label: str
    score: EpisodeResult
    payload: PayloadResult
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
            "payload": asdict(self.payload),
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
        scores = score(run.controller, _scenario(robot, first, scenario, seed), _log(first), run.violations)
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
    return Result(run.label, scores, _payload(run), run.missed_deadlines, len(run.step_ms), stages)


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
    mass, deviation = _held_beliefs(run)
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
        quantities=PAYLOAD.quantities[:1],
        estimate=mass[:, None],
        estimate_std=deviation[:, None],
        truth=run.truth.mass_kg[np.searchsorted(run.truth.time_s, run.time_s, side="right") - 1][:, None],
        crash_s=run.crash_s,
        angle_error=run.angle_error_rad,
    )


def _held_beliefs(run: RunLog) -> tuple[Array, Array]:
    """Latest published mass and standard deviation at each state, (N,) and (N,); NaN before the first."""
    if run.estimate is None:
        nothing = np.full(len(run.time_s), np.nan)
        return nothing, nothing
    index = np.searchsorted(run.estimate.time_s, run.time_s + 1e-9, side="right") - 1
    held = (
        np.where(index < 0, np.nan, values[np.maximum(index, 0)])
        for values in (run.estimate.mass_kg, run.estimate.mass_std_kg)
    )
    mass, deviation = held
    return mass, deviation


def _payload(run: RunLog) -> PayloadResult:
    end = float(run.time_s[-1])
    truth = run.truth.at(end)
    return PayloadResult(float(truth.mass_kg[0]), _numbers(truth.com_m), _belief(run, end))


def _belief(run: RunLog, end: float) -> Belief | None:
    if run.estimate is None:
        return None
    change = run.change_s[-1] if run.change_s else float(run.time_s[0])
    last, early = run.estimate.at(end), run.estimate.at(change + _EARLY_S)
    return Belief(*_mass(last), *_mass(early), _numbers(last.com_m), _numbers(last.com_std_m))


def _mass(payload: Payload) -> tuple[float, float]:
    return float(payload.mass_kg[0]), float(payload.mass_std_kg[0])


def _numbers(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values[0])
