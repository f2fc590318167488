# SPDX-License-Identifier: Apache-2.0
"""Scores of a logged run.

Windows, with t_c the time of the change (the middle of the run if nothing changes) and t_0 the time from which the
scenario is scored: before = [t_0, t_c), transient = [t_c, t_c + 1 s), after = [t_c + 1 s, t_c + 5 s). The error is the
distance of the robot's tracked point from its reference. rmse is its root mean square over the
window (rmse_m: from t_0 to the end). settle_s: see settling.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Status
from metarl_robot.sim.run_log import Log
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.settling import Envelope, bound_m, envelope

Array = NDArray[np.float64]

_TRANSIENT_S = 1.0
_AFTER_S = 4.0


@dataclass(frozen=True)
class EpisodeResult:
    """The scores of one run.

    settle_s: time until the error's running RMS stays within settled_within_m; None if it never does, or the run
    crashes. envelope: of that RMS after the change. joint_rmse_after_rad: of all joints, or of the attitude
    error's three components; None for a robot without angles. violations: physics steps with a command or a state
    beyond a limit. failed_steps: commands with status FAILED. estimates: of each scored quantity, the estimate's error
    (estimate minus truth) and standard deviation 1 s after the change, by name ('payload_mass_error_kg',
    'payload_mass_std_kg'), and later ('payload_mass_error_kg_4s'); None if the controller estimates none.
    measures: more numbers by name. Of every run, the kind's own (Simulation.measures). Of a scenario that is released
    (Scenario.released_s), peak_contact_n, velocity_violations (physics steps) and external_wrench_s, the time for which
    the adapter reports an external wrench; None if it reports none.
    false_changes_per_min: changes detected more than 1 s after any change, per minute; None if it detects none.
    """

    controller: str
    scenario: str
    seed: int
    rmse_before_m: float
    rmse_transient_m: float
    rmse_after_m: float
    joint_rmse_after_rad: float | None
    settle_s: float | None
    violations: int
    failed_steps: int
    step_ms_median: float
    step_ms_p99: float
    estimates: Mapping[str, float | None]
    rmse_m: float = 0.0
    crashed: bool = False
    settled_within_m: float = 0.0
    false_changes_per_min: float | None = None
    measures: Mapping[str, float | None] = field(default_factory=dict)
    envelope: Envelope | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return a row of the evaluation's JSON; each estimate is a column."""
        row: dict[str, Any] = {}
        for name in (each.name for each in fields(self) if each.name != "envelope"):
            value = getattr(self, name)
            row |= value if name in ("estimates", "measures") else {name: value}
        return row

    def settled_beside(self, oracle_m: float | None, floor_m: float) -> EpisodeResult:
        """The result with settle_s judged by the oracle's error in the same run; see settling.py."""
        within_m = bound_m(floor_m, oracle_m)
        settle_s = None if self.crashed or self.envelope is None else self.envelope.settle_s(within_m)
        return replace(self, settle_s=settle_s, settled_within_m=within_m)


def score(name: str, scenario: Scenario[Any], log: Log, violations: int, settled_m: float) -> EpisodeResult:
    """Compute the scores of a logged run. settled_m: floor of a settled error; see settling.py."""
    began = scenario.changes[0][0] if scenario.changes else scenario.duration_s / 2
    change = began if scenario.released_s is None else scenario.released_s
    error, times = log.error_m, log.times
    after = _window(times, change + _TRANSIENT_S, change + _TRANSIENT_S + _AFTER_S)
    angle_error = log.q - log.q_reference if log.angle_error is None else log.angle_error
    step_s = log.step_s if log.crash_s is None else log.step_s[times < log.crash_s]
    if not len(step_s):  # crashed from the first state on
        step_s = np.array([np.nan])
    result = EpisodeResult(
        controller=name,
        scenario=scenario.name,
        seed=scenario.seed,
        rmse_before_m=_rms(error[_window(times, scenario.scored_from_s, min(began, change))]),
        rmse_transient_m=_rms(error[_window(times, change, change + _TRANSIENT_S)]),
        rmse_after_m=_rms(error[after]),
        joint_rmse_after_rad=_rms(angle_error[after]) if angle_error.shape[1] else None,
        settle_s=None,
        violations=violations,
        failed_steps=int(np.sum(log.status == Status.FAILED.value)),
        step_ms_median=float(1e3 * np.median(step_s)),
        step_ms_p99=float(1e3 * np.percentile(step_s, 99)),
        estimates=_estimate_scores(log, change, scenario.estimates_after_s),
        rmse_m=_rms(error[times >= scenario.scored_from_s - 1e-9]),
        crashed=log.crash_s is not None,
        false_changes_per_min=_false_changes(log, [time for time, _ in scenario.changes]),
        envelope=envelope(times, error, change),
    )
    return result.settled_beside(None, settled_m)


def _estimate_scores(log: Log, change_s: float, after_s: Sequence[float]) -> dict[str, float | None]:
    """Errors and standard deviations of the scored quantities at times after the change."""
    scores: dict[str, float | None] = {}
    for since_s in after_s:
        k = min(int(np.searchsorted(log.times, change_s + since_s - 1e-9)), len(log.times) - 1)
        later = "" if since_s == after_s[0] else f"_{since_s:g}s"
        for i, quantity in enumerate(log.quantities):
            if quantity.scored:
                scores[quantity.error_name + later] = _number(log.estimate[k, i] - log.truth[k, i])
                scores[quantity.std_name + later] = _number(log.estimate_std[k, i])
    return scores


def _false_changes(log: Log, changes_s: Sequence[float]) -> float | None:
    """Changes detected per minute, without the second after each change."""
    if log.changes is None:
        return None
    counted = np.ones(len(log.times), bool)
    for change_s in changes_s:
        counted &= ~_window(log.times, change_s, change_s + _TRANSIENT_S)
    new = np.maximum(np.diff(log.changes, prepend=0.0), 0.0)[counted]
    return float(np.nansum(new) / (len(new) * (log.times[1] - log.times[0]) / 60.0))


def _window(times: Array, start: float, end: float) -> NDArray[np.bool_]:
    return (times >= start - 1e-9) & (times < end - 1e-9)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
