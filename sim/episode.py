"""One closed-loop run without ROS: measure, ask the controller, step the plant; then score it.

Windows, with t_c the time of the change (the middle of the run where nothing changes): before = [1 s, t_c), transient =
[t_c, t_c + 1 s), after = [t_c + 1 s, t_c + 5 s). rmse is the root mean square over the window of the distance between the
payload site and where the reference puts it. settle_s: time from t_c until that distance stays below
max(2 rmse_before_m, 1 mm) to the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.robot import Robot
from metarl_robot.signals import Command, Status
from metarl_robot.sim.geometry import end_effector_positions
from metarl_robot.sim.plant import ArmPlant
from metarl_robot.sim.task import Scenario, Task

Array = NDArray[np.float64]

MASS = "payload_mass_kg"
_START_S = 1.0
_TRANSIENT_S = 1.0
_AFTER_S = 4.0
_SETTLED_M = 0.001


@dataclass(frozen=True)
class Log:
    """What happened, one row per control step, K in all.

    times: (K,) [s] when the command was issued; q, v: (K, n) true state then; q_reference, v_reference: (K, n); effort: (K, n)
    commanded [Nm]; position, position_reference: (K, 3) payload site [m; world]; status: (K,) of the commands; step_s: (K,) time
    the controller took; payload_mass_kg, payload_mass_std_kg: (K,) the controller's belief, NaN without; true_mass_kg: (K,).
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
    payload_mass_kg: Array
    payload_mass_std_kg: Array
    true_mass_kg: Array

    @property
    def error_m(self) -> Array:
        """(K,) distance of the payload site from its reference [m]."""
        return np.asarray(np.linalg.norm(self.position - self.position_reference, axis=1))


@dataclass(frozen=True)
class EpisodeResult:
    """The scores of one run. settle_s is None if it never settles; payload_mass_* are None if the controller estimates no mass.

    payload_mass_error_kg: estimate minus truth, 1 s after the change; payload_mass_std_kg: what the controller claimed then.
    violations: physics steps beyond a torque, velocity or position limit. failed_steps: commands with status FAILED.
    """

    controller: str
    scenario: str
    seed: int
    rmse_before_m: float
    rmse_transient_m: float
    rmse_after_m: float
    joint_rmse_after_rad: float
    settle_s: float | None
    violations: int
    failed_steps: int
    step_ms_median: float
    step_ms_p99: float
    payload_mass_error_kg: float | None
    payload_mass_std_kg: float | None

    def to_dict(self) -> dict[str, Any]:
        """A row of the evaluation's JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Episode:
    """A finished run."""

    scenario: Scenario
    result: EpisodeResult
    log: Log


def run_episode(robot: Robot, make_controller: Callable[[Scenario], Controller], scenario: Scenario, name: str = "") -> Episode:
    """Run one scenario to its end.

    Arguments:
        robot: the robot.
        make_controller: scenario -> controller; it is reset before the run. A controller with a method `observe_truth(task)` is told
            the true task at the start and at every change.
        scenario: what to run.
        name: what to call the controller in the result.
    """
    controller = make_controller(scenario)
    plant = ArmPlant(robot, scenario.initial, scenario.noise_seed)
    period = robot.control_period_s
    count = round(scenario.duration_s / period)
    times = np.arange(count, dtype=np.float64) * period
    points = scenario.reference.sample(times)
    state = plant.reset(points.q[0], points.v[0])
    controller.reset()
    _tell(controller, scenario.initial)
    changes = list(scenario.changes)
    q, v = np.empty_like(points.q), np.empty_like(points.v)
    commands: list[Command] = []
    step_s, true_mass = np.empty(count), np.empty(count)
    for k, time in enumerate(times):
        if changes and time >= changes[0][0] - 1e-9:
            task = changes.pop(0)[1]
            plant.set_task(task)
            _tell(controller, task)
        truth = plant.truth
        q[k], v[k], true_mass[k] = truth.q, truth.v, plant.task.payload.mass_kg
        start = perf_counter()
        command = controller.step(plant.stamp, state, scenario.reference)
        step_s[k] = perf_counter() - start
        commands.append(command)
        state = plant.step(command.effort, period)
    mass, std = _mass_belief(commands)
    log = Log(
        times=times,
        q=q,
        v=v,
        q_reference=points.q,
        v_reference=points.v,
        effort=np.array([command.effort for command in commands]),
        position=end_effector_positions(robot, q),
        position_reference=end_effector_positions(robot, points.q),
        status=np.array([command.status.value for command in commands]),
        step_s=step_s,
        payload_mass_kg=mass,
        payload_mass_std_kg=std,
        true_mass_kg=true_mass,
    )
    return Episode(scenario, score(name, scenario, log, plant.violations.any), log)


def _tell(controller: Controller, task: Task) -> None:
    observe = getattr(controller, "observe_truth", None)
    if observe is not None:
        observe(task)


def _mass_belief(commands: list[Command]) -> tuple[Array, Array]:
    beliefs = [command.context[MASS] if MASS in command.context.names else (np.nan, np.nan) for command in commands]
    mass, std = np.array(beliefs).T
    return mass, std


def score(name: str, scenario: Scenario, log: Log, violations: int) -> EpisodeResult:
    """Scores of a logged run."""
    change = scenario.changes[0][0] if scenario.changes else scenario.duration_s / 2
    error, times = log.error_m, log.times
    after = _window(times, change + _TRANSIENT_S, change + _TRANSIENT_S + _AFTER_S)
    before_m = _rms(error[_window(times, _START_S, change)])
    k = min(int(np.searchsorted(times, change + _TRANSIENT_S - 1e-9)), len(times) - 1)
    return EpisodeResult(
        controller=name,
        scenario=scenario.name,
        seed=scenario.seed,
        rmse_before_m=before_m,
        rmse_transient_m=_rms(error[_window(times, change, change + _TRANSIENT_S)]),
        rmse_after_m=_rms(error[after]),
        joint_rmse_after_rad=_rms(log.q[after] - log.q_reference[after]),
        settle_s=_settle(times, error, change, max(2 * before_m, _SETTLED_M)),
        violations=violations,
        failed_steps=int(np.sum(log.status == Status.FAILED.value)),
        step_ms_median=float(1e3 * np.median(log.step_s)),
        step_ms_p99=float(1e3 * np.percentile(log.step_s, 99)),
        payload_mass_error_kg=_number(log.payload_mass_kg[k] - log.true_mass_kg[k]),
        payload_mass_std_kg=_number(log.payload_mass_std_kg[k]),
    )


def _window(times: Array, start: float, end: float) -> NDArray[np.bool_]:
    return (times >= start - 1e-9) & (times < end - 1e-9)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _settle(times: Array, error: Array, change: float, threshold: float) -> float | None:
    outside = np.flatnonzero((error >= threshold) & (times >= change - 1e-9))
    if len(outside) == 0:
        return 0.0
    return None if outside[-1] == len(times) - 1 else float(times[outside[-1] + 1] - change)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
