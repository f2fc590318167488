# SPDX-License-Identifier: Apache-2.0
"""Simulated flights for meta-learning, with the true context of every task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import feature_map, raw_groups, true_contexts
from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData, joined
from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.quadrotor.description import MotorModel, Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.scale import FlightScale
from metarl_robot.robots.quadrotor.training_data import Flights, flight_training_data
from metarl_robot.sim.dataset import DataSet
from metarl_robot.sim.quadrotor.rollouts import flown
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]

_SPAN_S = 0.05
"""Time over which accelerometer and positions are compared with velocities of equal accuracy."""


class FlightTrainingDataBuilder:
    """See metarl_robot.sim.kinds.TrainingDataBuilder. Training data of quadrotors are dimensionless."""

    ranges = None

    def __init__(self, robot: Quadrotor) -> None:
        self._robot, self.groups = robot, raw_groups(robot.kind)
        self.dynamics = QuadrotorDynamics(robot)
        self.velocity_scale, self.force_scale, self.unit = (
            np.ones(robot.dof),
            FlightScale(robot).force,
            FlightScale(robot).force,
        )

    def training_data(self, data: DataSet, groups: tuple[str, ...]) -> TrainingData:
        return self.truth(data).with_features(feature_map(self._robot, self.dynamics, groups).names)

    def truth(self, data: DataSet) -> TrainingData:
        """Training data, computed quadrotor by quadrotor for a family."""
        if data.acting is None:
            raise MetaRLError("training_data: the data set has no rotor thrusts ('acting')")
        parts = []
        for robot, chosen in flown(self._robot, data.tasks):
            tasks = [data.tasks[i] for i in chosen]
            dynamics = self.dynamics if robot is self._robot else QuadrotorDynamics(robot)
            features = feature_map(robot, dynamics, self.groups)
            contexts = true_contexts(robot, tasks, self.groups, features.groups)
            noise = np.stack([_noise(task, robot.control_period_s) for task in tasks])
            flights = Flights(
                data.q[chosen], data.v[chosen], data.acting[chosen], robot.control_period_s, noise, contexts
            )
            parts.append(flight_training_data(robot, dynamics, features, flights))
        return parts[0] if len(parts) == 1 else joined(parts)

    def residual_series(
        self, data: DataSet, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        raise MetaRLError("adapter 'maml' is not trained for quadrotors")

    def commanded(self, data: DataSet, task: int) -> Array:
        motors, effort = MotorModel(self._robot, self._robot.hover_thrust), data.effort[task].astype(float)
        return np.stack([motors.advance(command, self._robot.control_period_s) for command in effort])


def _noise(task: QuadrotorTask, period_s: float) -> Array:
    """Noise (6,) of velocities as accurate as all the sensors together [m/s, rad/s].

    A slope through positions is equivalent to velocities with the noise σ_q / h, as for an arm. The integral of a
    specific force over h has the noise σ_a √(h Δt).
    """
    by_position = task.position_noise_m / _SPAN_S
    by_force = task.accelerometer_noise_m_s2 * np.sqrt(_SPAN_S * period_s)
    linear = (task.velocity_noise_m_s**-2 + by_position**-2 + by_force**-2) ** -0.5
    angular = (task.gyro_noise_rad_s**-2 + (task.attitude_noise_rad / _SPAN_S) ** -2) ** -0.5
    return np.repeat([linear, angular], 3)
