# SPDX-License-Identifier: Apache-2.0
"""Summary of evaluations: errors of all predictors after little and after much data, over all logs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.force_scale import force_scale
from metarl_robot.core.robot import Robot
from metarl_robot.logs.replay import HORIZON_S, NOMINAL, RIVALS, Evaluation

Array = NDArray[np.float64]

AFTER_S = (1.0, 3.0, 5.0, 10.0)
"""Errors are summarised over the predictions made from each of these times until the next one."""


def summary(robot: Robot, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Errors as plain data.

    Returns {"robot", "horizon_s", "logs", "rows": {predictor: {"after": [...], "next_velocity_rad_s"}}, "best_rival"}:
    one entry of "after" for each of AFTER_S, None where no log is long enough. An error is a root mean square over the
    predictions, mean over the joints: in Nm, as a share of the effort limit (of a multirotor: of the largest force and
    torque, flight_cells.py), and over the nominal model's.
    """
    names = tuple(evaluations[0].rows)
    rows = {name: _row(robot, evaluations, name) for name in names}
    return {
        "robot": robot.name,
        "horizon_s": HORIZON_S,
        "logs": [_log(robot, each) for each in evaluations],
        "rows": rows,
        "best_rival": [_best(rows, i) for i in range(len(AFTER_S))],
    }


def _row(robot: Robot, evaluations: Sequence[Evaluation], name: str) -> dict[str, Any]:
    velocity = np.concatenate([each.rows[name].next_velocity for each in evaluations])
    return {
        "after": [_after(robot, evaluations, name, *span) for span in pairwise((*AFTER_S, np.inf))],
        "next_velocity_rad_s": float(np.sqrt(np.mean(velocity**2))),
    }


def _after(
    robot: Robot, evaluations: Sequence[Evaluation], name: str, begin_s: float, end_s: float
) -> dict[str, Any] | None:
    chosen = [(each.time_s >= begin_s) & (each.time_s < end_s) for each in evaluations]
    count = sum(int(at.sum()) for at in chosen)
    if not count:
        return None

    def rms(predictor: str) -> Array:
        force = [each.rows[predictor].force[at] for each, at in zip(evaluations, chosen, strict=True)]
        return np.asarray(np.sqrt(np.nanmean(np.concatenate(force) ** 2, axis=0)))

    joints, nominal, scale = rms(name), rms(NOMINAL), force_scale(robot)
    return {
        "after_s": begin_s,
        "predictions": count,
        "error_nm": float(np.nanmean(joints)),
        "error_percent_of_limit": float(np.nanmean(100.0 * joints / scale)),
        "over_nominal": float(np.nanmean(joints / scale) / np.nanmean(nominal / scale)),
        "joints_nm": joints.tolist(),
    }


def _best(rows: dict[str, Any], i: int) -> str | None:
    """The rival with the smallest error."""
    found = [name for name in RIVALS if rows[name]["after"][i] is not None]
    return min(found, key=lambda name: rows[name]["after"][i]["error_percent_of_limit"], default=None)


def _log(robot: Robot, evaluation: Evaluation) -> dict[str, Any]:
    """Times, and estimates of each predictor at the end and over time."""
    estimates = {
        name: {
            report.name: {
                "columns": [quantity.name for quantity in report.quantities],
                "mean": row.estimates[report.name].mean,
                "std": row.estimates[report.name].std,
            }
            for report in robot.reports
            if report.name in row.estimates
        }
        for name, row in evaluation.rows.items()
    }
    force = {name: np.nanmean(row.force, axis=1) for name, row in evaluation.rows.items()}
    return {
        "source": evaluation.source,
        "rate_hz": 1.0 / evaluation.period_s,
        "time_s": evaluation.time_s,
        "error_nm": force,
        "estimates": {name: each for name, each in estimates.items() if each},
    }
