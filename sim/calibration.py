# SPDX-License-Identifier: Apache-2.0
"""Calibration of the estimates of physical quantities: do the reported standard deviations match the errors?

Each draw records one run of a suite under a controller without context. The adapter of the robot's adaptive controller
and the exact posterior (batch_posterior.py) are then run on the record. For every scored quantity (such as a payload's
mass), the error and the standard deviation are taken at fixed times after the change, with the largest share of the
effort limits (for a vehicle, of the friction) that the motion has needed since: some are observable only near limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.control.base import Controller
from metarl_robot.control.factory import controller_names, make_controller
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.quantities import Estimate, Quantity, quantities
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Context
from metarl_robot.parallel.processes import Processes
from metarl_robot.sim.batch_posterior import BatchPosterior
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.recorded_motion import RecordedMotion, record
from metarl_robot.sim.scenario import Scenario

Array = NDArray[np.float64]
Row = dict[str, Any]

LEVELS = (0.1, 0.25, 0.5, 0.6827, 0.8, 0.9, 0.9545, 0.99)
"""Nominal coverage of the intervals of a reliability diagram."""
COVERED = (0.90, 0.98)
"""Share of errors that two standard deviations should hold: 95.45 %, with the spread of 200 draws."""
SHARPEST = 1.5
"""Largest standard deviation, as a multiple of the root mean square error."""
EXCITED = 0.8
"""Share of the effort limits above which a motion counts as near them."""
RECORDER = "offset_free_mpc"
"""Controller of the recorded runs; it does not use the context, so that records do not depend on the adapter."""


class Draw(NamedTuple):
    """One run of a suite."""

    kind: str
    seed: int


@dataclass(frozen=True)
class _Job:
    robot: Path
    suite: str
    draw: Draw


def draws(robot: Robot, suite: str, count: int, first_seed: int = 0) -> tuple[Draw, ...]:
    """The first draws of a suite, of all its kinds in turn. Raises UnknownNameError."""
    kinds = simulation(robot).scenario_names(suite)
    return tuple(Draw(kinds[i % len(kinds)], first_seed + i // len(kinds)) for i in range(count))


def calibrate(robot: Robot, suite: str, wanted: Sequence[Draw], jobs: int, finished: Callable[[Row], None]) -> None:
    """Run draws, in any order; `finished` gets each one's row. jobs: processes; 1: this one.

    A row: {"robot", "where": suite, "kind", "seed", "crashed", "estimates": [{"quantity", "unit", "after_s", "truth",
    "error", "std", "exact_error", "exact_std", "use"}]}; there are no estimates after a crash. use: largest share of an
    effort limit that the motion needed since the change.

    Raises:
        MetaRLError: the robot's adaptive controller estimates no quantity.
    """
    if not any(map(_is_scored, quantities(robot))) or not isinstance(_filter(_learner(robot.folder)), MomentumFilter):
        raise MetaRLError(f"calibration: '{robot.name}' has no adapter that estimates a scored quantity with a σ")
    for _, row in Processes(jobs).run_all(_row, [_Job(robot.folder, suite, draw) for draw in wanted]):
        finished(row)


def _row(job: _Job) -> Row:
    robot, (kind, seed) = _robot(job.robot), job.draw
    scenario = simulation(robot).scenario(job.suite, kind, seed)
    motion = record(robot, _recorder(job.robot), _until_last_estimate(scenario))
    found = [] if motion.crashed else _estimates(robot, motion)
    row = {"robot": robot.name, "where": job.suite, "kind": kind, "seed": seed}
    return {**row, "crashed": motion.crashed, "estimates": found}


def _until_last_estimate(scenario: Scenario[Any]) -> Scenario[Any]:
    last_s = _change_s(scenario) + max(scenario.estimates_after_s)
    return replace(scenario, duration_s=min(scenario.duration_s, last_s + 0.1))


def _change_s(scenario: Scenario[Any]) -> float:
    """Time of the change; half of the run where there is none."""
    return scenario.changes[0][0] if scenario.changes else scenario.duration_s / 2


def _estimates(robot: Robot, motion: RecordedMotion) -> list[Row]:
    """Errors and standard deviations of the scored quantities, at the scenario's times after the change."""
    scenario, change_s = motion.scenario, _change_s(motion.scenario)
    samples = [int(np.searchsorted(motion.stamps, change_s + after_s - 1e-9)) for after_s in scenario.estimates_after_s]
    at = [min(sample, len(motion.stamps) - 1) for sample in samples]
    own, exact, simulated = _learned(robot, motion, at), _posterior(robot, motion, at), simulation(robot)
    return [
        {
            "quantity": quantity.name, "title": quantity.title, "unit": quantity.unit, "after_s": after_s,
            "truth": truth, "error": own[k].mean[i] - truth, "std": own[k].std[i],
            "exact_error": exact[k].mean[i] - truth, "exact_std": exact[k].std[i], "use": use,
        }
        for k, after_s in enumerate(scenario.estimates_after_s)
        for use in [simulated.effort_use(scenario.task_at(change_s), motion.driven, change_s, change_s + after_s)]
        for i, quantity in enumerate(quantities(robot)) if _is_scored(quantity)
        for truth in [motion.truth[at[k], i]]
    ]  # fmt: skip


def _is_scored(quantity: Quantity) -> bool:
    return quantity.scored or quantity.calibrated


def _learned(robot: Robot, motion: RecordedMotion, at: Sequence[int]) -> list[Estimate]:
    return _follow(robot, _learner(robot.folder), motion, at, lambda task: None)


def _posterior(robot: Robot, motion: RecordedMotion, at: Sequence[int]) -> list[Estimate]:
    learner = _exact_learner(robot.folder)
    exact: BatchPosterior = learner.adapter
    exact.begin(robot, motion.scenario.initial, simulation(robot).physics_dt_s)
    return _follow(robot, learner, motion, at, lambda task: exact.observe(robot, task))


def _follow(
    robot: Robot, learner: Any, motion: RecordedMotion, at: Sequence[int], changed: Callable[[Any], None]
) -> list[Estimate]:
    """Estimates of all quantities at samples `at`; changed: called with each new task."""
    learner.reset()
    changes, contexts = list(motion.scenario.changes), {}
    for k, (stamp, state) in enumerate(zip(motion.stamps[: max(at) + 1].tolist(), motion.states, strict=False)):
        if changes and stamp > changes[0][0] + 1e-9:  # also if it came within the interval
            changed(changes.pop(0)[1])
        contexts[k] = learner.learn(stamp, state, motion.effort[min(max(k, 1), len(motion.effort) - 1)])
    return [_estimate(robot, contexts[k]) for k in at]


def _estimate(robot: Robot, context: Context) -> Estimate:
    """The estimates of all reports, side by side; NaN where there is none."""
    parts = []
    for report in robot.reports:
        found = report.estimate(context) if context.names else None
        missing = np.full(len(report.quantities), np.nan)
        parts.append(Estimate(missing, missing) if found is None else found)
    return Estimate(np.concatenate([part.mean for part in parts]), np.concatenate([part.std for part in parts]))


@lru_cache(maxsize=4)
def _robot(folder: Path) -> Robot:
    return load_robot(folder)


@lru_cache(maxsize=4)
def _recorder(folder: Path) -> Controller:
    robot = _robot(folder)
    known = controller_names(robot.kind)
    return make_controller(robot, RECORDER if RECORDER in known else robot.adaptive_controller)


@lru_cache(maxsize=4)
def _learner(folder: Path) -> Any:
    robot = _robot(folder)
    return make_controller(robot, robot.adaptive_controller).inner


@lru_cache(maxsize=4)
def _exact_learner(folder: Path) -> Any:
    robot = _robot(folder)
    learner: Any = make_controller(robot, robot.adaptive_controller).inner
    learner.adapter = BatchPosterior.like(_filter(learner))
    return learner


def _filter(learner: Any) -> Any:
    """The adapter's filter: that within a guard, if it has one."""
    adapter = getattr(learner, "adapter", None)
    return getattr(adapter, "inner", adapter)


def summary(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """One line for each quantity, time and kind of run, and for all kinds together (kind ''), of a suite's rows.

    Motions near the effort limits since the change and those far from them have a line each, too, if there are both.
    """
    flat = [{**each, "kinds": ("", row["kind"], _use(each["use"]))} for row in rows for each in row["estimates"]]
    lines: dict[tuple[str, float], dict[str, list[Row]]] = {}
    for each in flat:
        for kind in each["kinds"]:
            lines.setdefault((each["quantity"], each["after_s"]), {}).setdefault(kind, []).append(each)
    return [
        _cell(chosen, kind)
        for kinds in lines.values()
        for kind, chosen in sorted(kinds.items(), key=lambda item: -len(item[1]))
        if kind == "" or len(chosen) < len(kinds[""])
    ]


def _use(share: float) -> str:
    """Motions near the effort limits, or others, as one more kind of run."""
    return f"use {'≥' if share >= EXCITED else '<'} {100.0 * EXCITED:.0f} %"


def _cell(estimates: Sequence[Row], kind: str) -> Row:
    first = estimates[0]
    row: Row = {key: first[key] for key in ("quantity", "title", "unit", "after_s")} | {"kind": kind}
    row |= _scores(estimates, "") | {f"exact_{key}": value for key, value in _scores(estimates, "exact_").items()}
    row["calibrated"] = COVERED[0] <= row["within_2_sigma"] <= COVERED[1] and row["sharpness"] <= SHARPEST
    return row


def _scores(estimates: Sequence[Row], of: str) -> Row:
    """Errors and coverage. sharpness: root mean square σ over that of the errors."""
    error, std = (np.array([e[of + name] for e in estimates], dtype=np.float64) for name in ("error", "std"))
    size, root_mean_square = np.abs(error), float(np.sqrt(np.mean(error**2)))
    sigma = float(np.sqrt(np.mean(std**2)))
    return {
        "count": len(error),
        "median": float(np.median(size)),
        "p90": float(np.percentile(size, 90)),
        "rms": root_mean_square,
        "sigma": sigma,
        "within_2_sigma": float(np.mean(size <= 2.0 * std)),
        "sharpness": sigma / max(root_mean_square, 1e-300),
        "reliability": [float(np.mean(size <= ndtri(0.5 + 0.5 * level) * std)) for level in LEVELS],
    }
