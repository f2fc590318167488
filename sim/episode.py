# SPDX-License-Identifier: Apache-2.0
"""One closed-loop run without ROS: measure, call the controller, step the plant; then score the run.

Windows, with t_c the time of the change (the middle of the run if nothing changes) and t_0 the time from which the
scenario is scored: before = [t_0, t_c), transient = [t_c, t_c + 1 s), after = [t_c + 1 s, t_c + 5 s). The error is the
distance of the robot's tracked point from its reference. rmse is its root mean square over the
window (rmse_m: from t_0 to the end). settle_s: see settling.py. A run ends with a crash; from then on the robot counts
as lying where it crashed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.core.quantities import Quantity, Report, quantities
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, State, Status
from metarl_robot.sim.kinds import Plant, simulation
from metarl_robot.sim.scenario import Scenario, Task
from metarl_robot.sim.settling import Envelope, bound_m, envelope

Array = NDArray[np.float64]

_TRANSIENT_S = 1.0
_AFTER_S = 4.0


@dataclass(frozen=True)
class Log:
    """Time series of a run, one row per control step, K in all.

    times: (K,) [s] when the command was issued. q (K, nq), v (K, dof): true state at that time; q_reference,
    v_reference: its reference. effort: (K, nu) commanded. position, position_reference: (K, 3) tracked point
    [m; world]. status: (K,) of the commands. step_s: (K,) computation time of the controller.
    quantities: k of the task; estimate, estimate_std: (K, k) the controller's, NaN without; truth: (K, k). crash_s:
    changes: (K,) detected by the controller's adapter until then; None: it does not detect changes. crash_s:
    time of an early end; from then on q and position are those of the crash, v, effort and step_s are zero, and there
    is no status. angle_error: (K, m) [rad], m = 0 for a robot without angles; None: q less its reference.
    """

    times: Array
    q: Array
    v: Array
    q_reference: Array
    v_reference: Array
    effort: Array
    position: Array
    position_reference: Array
    status: NDArray[np.str_]
    step_s: Array
    quantities: tuple[Quantity, ...]
    estimate: Array
    estimate_std: Array
    truth: Array
    crash_s: float | None = None
    angle_error: Array | None = None
    changes: Array | None = None

    @property
    def error_m(self) -> Array:
        """Distance (K,) of the position from its reference [m]."""
        return np.asarray(np.linalg.norm(self.position - self.position_reference, axis=1))


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


@dataclass(frozen=True)
class Episode:
    """A finished run."""

    scenario: Scenario[Any]
    result: EpisodeResult
    log: Log


def run_episode(
    robot: Robot, make_controller: Callable[[Scenario[Any]], Controller], scenario: Scenario[Any], name: str = ""
) -> Episode:
    """Run one scenario to its end, or to a crash.

    Arguments:
        robot: the robot.
        make_controller: scenario -> controller; it is reset before the run. A controller with a method
            `observe_truth(task)` receives the true task at the start and at every change of the plant's; one with a
            method `observe_obstacles(discs)` receives the scenario's obstacles at the start.
        scenario: the scenario to run.
        name: name of the controller in the result.
    """
    controller = make_controller(scenario)
    room = simulation(robot)
    plant = room.plant(scenario.initial, scenario.noise_seed)
    period = robot.control_period_s
    count = round(scenario.duration_s / period)
    times = np.arange(count, dtype=np.float64) * period
    points = scenario.reference.sample(times)
    released = scenario.start or State(points.q[0], points.v[0])
    state = plant.reset(released.q, released.v)
    controller.reset()
    told: Task | None = None
    _tell_obstacles(controller, scenario)
    changes = list(scenario.changes)
    reported = quantities(robot)
    q, v, true = np.empty_like(points.q), np.empty_like(points.v), np.empty((count, len(reported)))
    commands: list[Command] = []
    step_s, detected, external = np.zeros(count), np.full(count, np.nan), np.full(count, np.nan)
    crash_s = None
    for k, time in enumerate(times):
        if changes and time >= changes[0][0] - 1e-9:
            task = changes.pop(0)[1]
            plant.set_task(task)
        if plant.task is not told:
            told = plant.task
            _tell(controller, told)
        truth = plant.truth
        q[k], v[k], true[k] = truth.q, truth.v, plant.quantities
        if plant.crashed:
            q[k:], v[k:], true[k:], crash_s = truth.q, 0.0, true[k], float(time)
            break
        start = perf_counter()
        command = controller.step(plant.stamp, state, scenario.reference)
        step_s[k] = perf_counter() - start
        commands.append(command)
        detected[k], external[k] = _changes(controller), _external(controller)
        state = plant.step(command.effort, period)
    estimate, std = _estimates(robot.reports, commands, count)
    effort = np.zeros((count, robot.nu))
    effort[: len(commands)] = [command.effort for command in commands]
    log = Log(
        times=times,
        q=q,
        v=v,
        q_reference=points.q,
        v_reference=points.v,
        effort=effort,
        position=room.positions(q),
        position_reference=room.reference_positions(points.q, q),
        status=np.array([command.status.value for command in commands] + [""] * (count - len(commands))),
        step_s=step_s,
        quantities=reported,
        estimate=estimate,
        estimate_std=std,
        truth=true,
        crash_s=crash_s,
        angle_error=room.angle_errors(q, points.q),
        changes=detected if np.isfinite(detected[0]) else None,
    )
    result = score(name, scenario, log, plant.violations.any, room.settled_m)
    measures = room.measures(plant, scenario, log)
    if scenario.released_s is not None:
        measures = {**measures, **_disturbed(plant, external, period)}
    return Episode(scenario, replace(result, measures=measures), log)


def _tell(controller: Controller, task: Task) -> None:
    observe = getattr(controller, "observe_truth", None)
    if observe is not None:
        observe(task)


def _tell_obstacles(controller: Controller, scenario: Scenario[Any]) -> None:
    observe = getattr(controller, "observe_obstacles", None)
    if observe is not None:
        observe(scenario.obstacles)


def _changes(controller: Controller) -> float:
    """Number of changes that the controller's adapter has detected; NaN if it detects none."""
    return float(getattr(getattr(controller, "adapter", None), "detections", np.nan))


def _external(controller: Controller) -> float:
    """Whether the controller's adapter reports an external wrench; NaN if it never does."""
    return float(getattr(getattr(controller, "adapter", None), "external_wrench", np.nan))


def _disturbed(plant: Plant, external: Array, period_s: float) -> dict[str, float | None]:
    return {
        "peak_contact_n": getattr(plant, "peak_contact_n", None),
        "velocity_violations": getattr(plant.violations, "velocity", None),
        "external_wrench_s": _number(float(np.sum(external)) * period_s),
    }


def _estimates(reports: Sequence[Report], commands: list[Command], count: int) -> tuple[Array, Array]:
    """Means and standard deviations (K, k) of the reports' quantities, in order."""
    parts = [np.zeros((2, count, 0))]
    for report in reports:
        part = np.full((2, count, len(report.quantities)), np.nan)
        for k, command in enumerate(commands):
            found = report.estimate(command.context) if command.context.names else None
            if found is not None:
                part[:, k] = found
        parts.append(part)
    mean, std = np.concatenate(parts, axis=2)
    return mean, std


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
