# SPDX-License-Identifier: Apache-2.0
"""Training data of ground vehicles, with the true context of every task.

Forces are not linear in the physical parameters p. They are therefore linearised about the task's true parameters: the
raw features are the derivatives there, and the target is the impulse that p leaves unexplained, plus these derivatives
times p. All vectors have body directions, because model errors turn with the vehicle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import feature_map, raw_groups, true_contexts
from metarl_robot.adaptation.training_data import HISTORY, ResidualSeries, TrainingData
from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.ground.actuators import Actuators
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS, GroundDynamics
from metarl_robot.robots.ground.features.learned import encode
from metarl_robot.robots.ground.filter_tuning import force_scale
from metarl_robot.robots.ground.heading import turns
from metarl_robot.sim.dataset import DataSet
from metarl_robot.sim.ground.suites import TRAIN
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]

_SPAN_S = 0.05
"""Time over which positions are compared with velocities of equal accuracy."""


class GroundTrainingData:
    """See metarl_robot.sim.kinds.TrainingDataBuilder."""

    ranges = replace(TRAIN, sensor_delay_s=(0.0, 0.0))

    def __init__(self, robot: Ground) -> None:
        self._robot, self.groups = robot, raw_groups(robot.kind)
        self.dynamics = GroundDynamics(robot)
        self.velocity_scale, self.force_scale, self.unit = robot.velocity_limit, force_scale(robot), np.ones(robot.dof)

    def training_data(self, data: DataSet, groups: tuple[str, ...]) -> TrainingData:
        return self._made(data, groups, body=True)

    def truth(self, data: DataSet) -> TrainingData:
        """The residual of the nominal model [N, N, Nm; world]; no features."""
        return self._made(data, (), body=False)

    def residual_series(
        self, data: DataSet, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        raise MetaRLError("adapter 'maml' is not trained for ground vehicles")

    def commanded(self, data: DataSet, task: int) -> Array:
        actuators = Actuators(self._robot)
        return np.stack(
            [actuators.advance(effort, self._robot.control_period_s) for effort in data.effort[task].astype(float)]
        )

    def _made(self, data: DataSet, groups: tuple[str, ...], body: bool) -> TrainingData:
        robot, dynamics = self._robot, self.dynamics
        if data.acting is None:
            raise MetaRLError("training_data: the data set has no efforts of the actuators ('acting')")
        features = feature_map(robot, dynamics, groups)
        contexts = true_contexts(robot, data.tasks, groups, features.groups)
        linear = np.array([features.attached(unit) for unit in np.eye(features.size)]).reshape(-1, N_PARAMETERS).T
        q, v, acting = (x[:, HISTORY:].astype(float) for x in (data.q, data.v, data.acting))
        shape = acting.shape[:2]
        target, raw = np.empty((*shape, 3)), np.empty((*shape, 3, features.size))
        for task, z in enumerate(contexts):
            p = linear @ z if features.size else np.zeros(N_PARAMETERS)
            for k in range(shape[1]):
                interval = q[task, k], v[task, k], v[task, k + 1]
                balance = dynamics.balance(*interval, robot.control_period_s, p, acting[task, k])
                target[task, k] = -balance.deficit - robot.control_period_s * balance.input_map @ acting[task, k]
                raw[task, k] = balance.attached_impulse @ linear
        middle_q, middle_v, a = 0.5 * (q[:, 1:] + q[:, :-1]), 0.5 * (v[:, 1:] + v[:, :-1]), np.diff(v, axis=1)
        if body:
            turn = turns(-middle_q[..., 2])
            target, raw = np.einsum("tsij,tsj->tsi", turn, target), np.einsum("tsij,tsjk->tsik", turn, raw)
        mobility = np.broadcast_to(np.linalg.inv(dynamics.mass_matrix(robot.home)), (len(q), shape[1] + 1, 3, 3))
        inputs = encode(robot, middle_q.reshape(-1, 3), middle_v.reshape(-1, 3), acting.reshape(-1, robot.nu))
        arrays = {
            "target": target,
            "raw": raw * features.scale,
            "mobility": mobility,
            "q": middle_q,
            "v": middle_v,
            "a": a / robot.control_period_s,
            "effort": acting,
            "past_effort": np.zeros((*shape, 2, robot.nu)),
            "inputs": inputs.reshape(*shape, -1),
        }
        return TrainingData(
            **{name: array.astype(np.float32) for name, array in arrays.items()},
            dt=robot.control_period_s,
            velocity_noise=np.zeros(len(q)),
            encoder_step=np.zeros(len(q)),
            contexts=contexts / features.scale,
            entries=features.entries,
            noise=np.stack([_noise(task) for task in data.tasks]),
        )


def _noise(task: GroundTask) -> Array:
    """Noise (3,) of velocities as accurate as all the sensors together [m/s, m/s, rad/s]."""
    linear = (task.velocity_noise_m_s**-2 + (task.position_noise_m / _SPAN_S) ** -2) ** -0.5
    angular = (task.yaw_rate_noise_rad_s**-2 + (task.yaw_noise_rad / _SPAN_S) ** -2) ** -0.5
    return np.array([linear, linear, angular])
