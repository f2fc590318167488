"""How well adapters predict the residual of tasks they have not seen, from little measured data.

Each held-out task's adapter starts from its prior, is fed the measured states (late, rounded, noisy) and commands of the first
50, 100 and 500 ms after a random instant, one control period at a time as on the robot, and predicts the residual Δ on the 0.5 s
that follow. The truth is the noise-free residual in momentum form at the effort that acted, its mean over each control interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.errors import MetaRLError
from metarl_robot.meta.data import HISTORY, Experience, experience
from metarl_robot.robot import Robot
from metarl_robot.signals import State
from metarl_robot.sim.dataset import DataSet, collect
from metarl_robot.sim.rollouts import MERGED_DELAYS, rollouts
from metarl_robot.sim.task import TRAIN

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

WINDOWS_S = (0.05, 0.1, 0.5)
HORIZON_S = 0.5
_START = 2000  # second word of the entropy of the windows' places


@dataclass(frozen=True)
class PredictionScore:
    """Root mean square error of the predicted residual after a window of data: (n,) joint by joint [Nm]."""

    window_s: float
    rmse_nm: Array

    def to_dict(self, effort_limit: Array) -> dict[str, Any]:
        """Means over the joints, plain and as a share of each joint's effort limit, and the joints themselves."""
        return {
            "window_ms": round(1e3 * self.window_s),
            "rmse_nm": float(self.rmse_nm.mean()),
            "rmse_percent_of_limit": float(100.0 * (self.rmse_nm / effort_limit).mean()),
            "joints_nm": [float(x) for x in self.rmse_nm],
        }


class PredictionTest:
    """Held-out tasks on which any number of adapters can be scored.

    Arguments:
        robot: the arm.
        tasks: how many.
        seed: decides tasks, motions, noise and where the windows lie. None of it is ever used in training.
    """

    def __init__(self, robot: Robot, tasks: int = 200, seed: int = 0) -> None:
        self._robot = robot
        self._horizon = round(HORIZON_S / robot.control_period_s)
        self._windows = tuple(round(window / robot.control_period_s) for window in WINDOWS_S)
        self.dynamics = ArmDynamics(robot, self._horizon)
        self._data: DataSet = collect(robot, tasks, seed, suite="heldout", ranges=replace(TRAIN, command_share=MERGED_DELAYS))
        self._truth: Experience = experience(robot, self.dynamics, rollouts(robot, self.dynamics, self._data)).without_latency()
        room = self._truth.intervals - self._windows[-1] - self._horizon
        if room < 1:
            raise MetaRLError(f"prediction test: rollouts of {self._truth.intervals} intervals are too short")
        self._first = np.random.default_rng([seed, _START]).integers(0, room, tasks)

    def score(self, adapter: Adapter, progress: Progress | None = None) -> tuple[PredictionScore, ...]:
        """The adapter's error after each of `WINDOWS_S`."""
        squares = np.zeros((len(self._windows), self._robot.dof))
        count = len(self._first)
        for task in range(count):
            squares += self._squared_errors(adapter, task) / count
            if progress is not None:
                progress(task + 1, count)
        return tuple(PredictionScore(window, np.sqrt(row)) for window, row in zip(WINDOWS_S, squares, strict=True))

    def _squared_errors(self, adapter: Adapter, task: int) -> Array:
        """(windows, n) mean squares on one task."""
        data, period = self._data, self._robot.control_period_s
        start = HISTORY + int(self._first[task])
        result = np.zeros((len(self._windows), self._robot.dof))
        adapter.reset()
        for k in range(self._windows[-1] + 1):
            sample = start + k
            state = State(data.q_measured[task, sample].astype(float), data.v_measured[task, sample].astype(float))
            adapter.update(state, data.effort[task, sample - 1].astype(float), period)
            if k in self._windows:
                xi, truth = self._future(task, sample - HISTORY)
                result[self._windows.index(k)] = np.mean((adapter.evaluate(xi) - truth) ** 2, axis=0)
        return result

    def _future(self, task: int, first: int) -> tuple[Xi, Array]:
        """Where the residual is predicted, and what it was."""
        data, at = self._truth, slice(first, first + self._horizon)
        q, v, a, effort = (x[task, at].astype(float) for x in (data.q, data.v, data.a, data.effort))
        past = np.moveaxis(data.past_effort[task, at].astype(float), 1, 0)
        return Xi(q, v, a, effort, past), data.target[task, at].astype(float) / data.dt


def prediction_table(
    robot: Robot, test: PredictionTest, adapters: Mapping[str, Adapter], progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Scores of named adapters as plain data: {"tasks", "horizon_ms", "rows": {name: [score after each window]}}."""
    rows: dict[str, Any] = {}
    for name, adapter in adapters.items():
        scores = test.score(adapter, None if progress is None else lambda done, total, name=name: progress(name, done, total))  # type: ignore[misc]
        rows[name] = [score.to_dict(robot.effort_limit) for score in scores]
    return {"tasks": len(test._first), "horizon_ms": round(1e3 * HORIZON_S), "rows": rows}
