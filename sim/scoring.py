# SPDX-License-Identifier: Apache-2.0
"""Scores of how well adapters predict the residual of unseen tasks from little measured data.

Each held-out task's adapter starts from its prior. It receives the measured states (delayed, quantised, noisy) and
commands of the first 50, 100 and 500 ms after a random instant, one control period at a time as on the robot. It then
predicts the residual Δ on the following 0.5 s. The truth is the noise-free residual in momentum form at the effort that
acted, averaged over each control interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.adapter_spec import ADAPTERS
from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.factory import make_adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.training_data import HISTORY, TrainingData
from metarl_robot.control.factory import adapter_tuning, controller_of
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.sim.dataset import DataSet, collect
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

WINDOWS_S = (0.05, 0.1, 0.5)
HORIZON_S = 0.5
_MAML_ROWS = {"second_order": "maml_second_order", "first_order": "maml_first_order", "supervised": "fine_tuning"}
_START = 2000  # second word of the entropy of the windows' start times


@dataclass(frozen=True)
class PredictionScore:
    """Root mean square errors (tasks, n) of the residual predicted after a window of data.

    One row per task, one column per joint [Nm].
    """

    window_s: float
    rmse_nm: Array

    def to_dict(self, scale: Array) -> dict[str, Any]:
        """Summarise over all tasks.

        Joint by joint; means over joints, in Nm and as a share of `scale` (n,); the median task's share.
        """
        joints = np.sqrt(np.mean(self.rmse_nm**2, axis=0))
        shares = 100.0 * self.rmse_nm / scale
        return {
            "window_ms": round(1e3 * self.window_s),
            "rmse_nm": float(joints.mean()),
            "rmse_percent_of_limit": float(np.mean(100.0 * joints / scale)),
            "median_percent_of_limit": float(np.median(shares.mean(axis=1))),
            "joints_nm": [float(x) for x in joints],
        }


class PredictionTest:
    """Held-out tasks on which any number of adapters can be scored.

    Arguments:
        robot: the robot.
        tasks: number of tasks.
        seed: determines tasks, motions, noise and the windows' start times; none of them is used in training.
    """

    def __init__(self, robot: Robot, tasks: int = 200, seed: int = 0) -> None:
        self._robot = robot
        self._horizon = round(HORIZON_S / robot.control_period_s)
        self._windows = tuple(round(window / robot.control_period_s) for window in WINDOWS_S)
        self._builder = simulation(robot).training_data_builder(self._horizon)
        self.dynamics, self.scale = self._builder.dynamics, self._builder.force_scale
        self._data: DataSet = collect(robot, tasks, seed, suite="heldout", ranges=self._builder.ranges)
        self._truth: TrainingData = self._builder.truth(self._data)
        room = self._truth.intervals - self._windows[-1] - self._horizon
        if room < 1:
            raise MetaRLError(f"prediction test: rollouts of {self._truth.intervals} intervals are too short")
        self._first = np.random.default_rng([seed, _START]).integers(0, room, tasks)

    def score(self, adapter: Adapter, progress: Progress | None = None) -> tuple[PredictionScore, ...]:
        """Return the adapter's errors after each of `WINDOWS_S`."""
        errors = np.zeros((len(self._windows), len(self._first), self._robot.dof))
        for task in range(len(self._first)):
            errors[:, task] = np.sqrt(self._squared_errors(adapter, task))
            if progress is not None:
                progress(task + 1, len(self._first))
        return tuple(PredictionScore(window, rows) for window, rows in zip(WINDOWS_S, errors, strict=True))

    def _squared_errors(self, adapter: Adapter, task: int) -> Array:
        """Mean squares (windows, n) on one task."""
        data, period = self._data, self._robot.control_period_s
        start = HISTORY + int(self._first[task])
        result = np.zeros((len(self._windows), self._robot.dof))
        adapter.reset()
        commands = self._builder.commanded(data, task)
        for k in range(self._windows[-1] + 1):
            sample = start + k
            adapter.update(_measured(data, task, sample), commands[sample - 1], period)
            if k in self._windows:
                xi, truth = self._future(task, sample - HISTORY)
                result[self._windows.index(k)] = np.mean((self._predicted(adapter, xi) - truth) ** 2, axis=0)
        return result

    def _predicted(self, adapter: Adapter, xi: Xi) -> Array:
        """Predicted Δ (N, n), including an attached body that the adapter leaves to the dynamics."""
        attached, value = adapter.attached_body(), adapter.evaluate(xi)
        if not np.any(attached):
            return value
        return value + self.dynamics.attached_forces(xi.q, xi.v, xi.a, xi.effort, attached)

    def _future(self, task: int, first: int) -> tuple[Xi, Array]:
        """Return the points at which the residual is predicted, and its true values."""
        data, at = self._truth, slice(first, first + self._horizon)
        q, v, a, effort = (x[task, at].astype(float) for x in (data.q, data.v, data.a, data.effort))
        past = np.moveaxis(data.past_effort[task, at].astype(float), 1, 0)
        return Xi(q, v, a, effort, past), data.target[task, at].astype(float) / data.dt * self._builder.unit


def _measured(data: DataSet, task: int, sample: int) -> State:
    """Measured state of one sample."""
    force = None if data.specific_force_measured is None else data.specific_force_measured[task, sample].astype(float)
    return State(data.q_measured[task, sample].astype(float), data.v_measured[task, sample].astype(float), force)


def online_adapters(robot: Robot, dynamics: Any, checkpoints: Sequence[Checkpoint]) -> dict[str, Adapter]:
    """Adapters to compare, as the controllers run them: untrained baselines, and every adapter of the checkpoints.

    inertial: the last layer without learned features. fine_tuning: the same network and gradient steps as MAML's, after
    plain supervised training.
    """
    tuning = adapter_tuning(robot, robot.adaptive_controller)
    adapters = {
        "none": make_adapter("none", robot, dynamics, tuning),
        "disturbance_observer": make_adapter(
            "disturbance_observer",
            robot,
            dynamics,
            adapter_tuning(robot, controller_of(robot, "disturbance_observer")),
        ),
    }
    for checkpoint in checkpoints:
        if checkpoint.adapter == "maml":
            for method in checkpoint.meta["methods"]:
                variant = checkpoint if method == "second_order" else _variant(checkpoint, f"{method}.")
                adapters[_MAML_ROWS[method]] = make_adapter("maml", robot, dynamics, tuning, variant)
        else:
            for name in ADAPTERS.names(robot.kind):
                if ADAPTERS.get(robot.kind, name).weights == checkpoint.adapter:
                    adapters[name] = make_adapter(name, robot, dynamics, tuning, checkpoint)
    return adapters


def _variant(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    """The checkpoint with the tensors `prefix`network.* and `prefix`step.* in place of its own."""
    own = {name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors.items() if name.startswith(prefix)}
    return Checkpoint({**own, "output_scale": checkpoint.tensors["output_scale"]}, checkpoint.meta)


def prediction_scores(
    robot: Robot,
    checkpoints: Sequence[Checkpoint],
    tasks: int = 200,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Return {"tasks", "seed", "horizon_ms", "rows": {adapter: [score after each window]}}.

    The result is plain data, for a checkpoint's record or a table.
    """
    test = PredictionTest(robot, tasks, seed)
    rows: dict[str, Any] = {}
    for name, adapter in online_adapters(robot, test.dynamics, checkpoints).items():
        scores = test.score(adapter, None if progress is None else partial(progress, name))
        rows[name] = [score.to_dict(test.scale) for score in scores]
    return {"tasks": tasks, "seed": seed, "horizon_ms": round(1e3 * HORIZON_S), "rows": rows}
