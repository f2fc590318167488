# SPDX-License-Identifier: Apache-2.0
"""MAML's training data: measured and true residual, with the inputs of the online network.

The online code (adaptation.maml.ResidualMeter) measures the residual from each rollout's noisy measurements.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.euclidean_data import Rollouts
from metarl_robot.adaptation.maml import ResidualMeter, Sample
from metarl_robot.adaptation.training_data import HISTORY, ResidualSeries, TrainingData
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.maml_inputs import ArmNetworkInputs

Array = NDArray[np.float64]

OUTPUT_RATIO = 0.1
"""Scale s of the network's output, as a share of the effort limit."""


def output_scale(robot: Robot) -> Array:
    """Scale s (n,) [Nm] of the network's output."""
    return OUTPUT_RATIO * robot.effort_limit


def residual_series(
    robot: Robot,
    dynamics: ArmDynamics,
    meter: ResidualMeter,
    rollouts: Rollouts,
    truth: TrainingData,
    progress: Callable[[int, int], None] | None = None,
) -> ResidualSeries:
    """Series of every rollout.

    truth: `training_data` of the same rollouts, without the latency's share of the residual.
    """
    inputs, scale = ArmNetworkInputs(robot, dynamics), output_scale(robot)
    measured: list[list[Sample]] = []
    for task in range(truth.tasks):
        measured.append(_measure(meter, rollouts, task))
        if progress is not None:
            progress(task + 1, truth.tasks)
    shape = (truth.tasks, truth.intervals, -1)

    def flat(name: str) -> Array:
        return np.array([getattr(sample, name) for series in measured for sample in series])

    def true(name: str) -> Array:
        return np.asarray(getattr(truth, name), dtype=float).reshape(-1, truth.dof)

    q, v = flat("q"), flat("v")
    measured_x = inputs.encode(q, v, meter.accelerations(q, v, flat("force")))
    true_x = inputs.encode(true("q"), true("v"), true("a"))
    arrays = measured_x, flat("residual") / scale, true_x, true("target") / truth.dt / scale
    return ResidualSeries(*(x.reshape(shape).astype(np.float32) for x in arrays))


def _measure(meter: ResidualMeter, rollouts: Rollouts, task: int) -> list[Sample]:
    """Samples at the ends of a rollout's intervals, except the first `HISTORY`."""
    meter.reset()
    q, v, effort = (x[task].astype(float) for x in (rollouts.q_measured, rollouts.v_measured, rollouts.effort))
    samples = [meter.update(State(q[k], v[k]), effort[max(k - 1, 0)], rollouts.dt) for k in range(len(q))]
    return samples[HISTORY + 1 :]
