# SPDX-License-Identifier: Apache-2.0
"""Time series of a closed-loop run, and the recorder that fills them step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.core.quantities import Quantity, Report, quantities
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command
from metarl_robot.sim.kinds import Plant, Simulation
from metarl_robot.sim.scenario import Scenario

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Log:
    """Time series of a run, one row per control step, K in all.

    times: (K,) [s] when the command was issued. q (K, nq), v (K, dof): true state at that time; q_reference,
    v_reference: its reference. effort: (K, nu) commanded. position, position_reference: (K, 3) tracked point
    [m; world]. status: (K,) of the commands. step_s: (K,) computation time of the controller.
    quantities: k of the task; estimate, estimate_std: (K, k) the controller's, NaN without; truth: (K, k). crash_s:
    time of an early end; from then on q and position are those of the crash, v, effort and step_s are zero, and there
    is no status. angle_error: (K, m) [rad], m = 0 for a robot without angles; None: q less its reference. changes:
    (K,) detected by the controller's adapter until then; None: it does not detect changes.
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


class Recorder:
    """Records K steps of a run, of which a crash may end the last ones early.

    external: (K,) whether the controller's adapter reports an external wrench; NaN if it never does.
    """

    def __init__(self, robot: Robot, scenario: Scenario, count: int) -> None:
        self.times = np.arange(count, dtype=np.float64) * robot.control_period_s
        self.external = np.full(count, np.nan)
        self._robot, self._points = robot, scenario.reference.sample(self.times)
        self._quantities = quantities(robot)
        self._q, self._v = np.empty_like(self._points.q), np.empty_like(self._points.v)
        self._truth = np.empty((count, len(self._quantities)))
        self._commands: list[Command] = []
        self._step_s, self._changes = np.zeros(count), np.full(count, np.nan)
        self._crash_s: float | None = None

    def state(self, k: int, plant: Plant) -> None:
        """Record the plant's true state and quantities in step k; after a crash, as those of all later steps."""
        later = slice(k, None) if plant.crashed else k
        self._q[later], self._v[later], self._truth[later] = plant.truth.q, plant.truth.v, plant.quantities
        if plant.crashed:
            self._v[later], self._crash_s = 0.0, float(self.times[k])

    def command(self, k: int, command: Command, step_s: float, controller: Controller) -> None:
        """Record the command of step k and the adapter's counts after it."""
        adapter = getattr(controller, "adapter", None)
        self._commands.append(command)
        self._step_s[k] = step_s
        self._changes[k] = getattr(adapter, "detections", np.nan)
        self.external[k] = getattr(adapter, "external_wrench", np.nan)

    def log(self, simulation: Simulation) -> Log:
        """The time series."""
        count, commands, points = len(self.times), self._commands, self._points
        estimate, std = _estimates(self._robot.reports, commands, count)
        effort = np.zeros((count, self._robot.nu))
        effort[: len(commands)] = [command.effort for command in commands]
        return Log(
            times=self.times,
            q=self._q,
            v=self._v,
            q_reference=points.q,
            v_reference=points.v,
            effort=effort,
            position=simulation.positions(self._q),
            position_reference=simulation.reference_positions(points.q, self._q),
            status=np.array([command.status.value for command in commands] + [""] * (count - len(commands))),
            step_s=self._step_s,
            quantities=self._quantities,
            estimate=estimate,
            estimate_std=std,
            truth=self._truth,
            crash_s=self._crash_s,
            angle_error=simulation.angle_errors(self._q, points.q),
            changes=self._changes if np.isfinite(self._changes[0]) else None,
        )


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
