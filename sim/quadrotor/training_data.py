# SPDX-License-Identifier: Apache-2.0
"""Simulated flights for meta-learning, with the true context of every task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import feature_map
from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData, joined
from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.quadrotor.description import MotorModel, Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.features import FlightScale
from metarl_robot.robots.quadrotor.training_data import GROUPS, Flights, flight_training_data
from metarl_robot.sim.dataset import DataSet
from metarl_robot.sim.quadrotor.aerodynamics import Aerodynamics
from metarl_robot.sim.quadrotor.model import hover_command
from metarl_robot.sim.quadrotor.rollouts import flown
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]

_SPAN_S = 0.05
"""Time over which accelerometer and positions are compared with velocities of equal accuracy."""


class FlightTrainingDataBuilder:
    """See metarl_robot.sim.kinds.TrainingDataBuilder. Training data of quadrotors are dimensionless."""

    adapters = ("last_layer",)
    groups = GROUPS
    ranges = None

    def __init__(self, robot: Quadrotor) -> None:
        self._robot = robot
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
            contexts = np.stack([true_context(robot, task) for task in tasks])
            noise = np.stack([_noise(task, robot.control_period_s) for task in tasks])
            flights = Flights(
                data.q[chosen], data.v[chosen], data.acting[chosen], robot.control_period_s, noise, contexts
            )
            parts.append(
                flight_training_data(
                    robot, self.dynamics if robot is self._robot else QuadrotorDynamics(robot), flights
                )
            )
        return parts[0] if len(parts) == 1 else joined(parts)

    def residual_series(
        self, data: DataSet, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        raise MetaRLError("adapter 'maml' is not trained for quadrotors")

    def commanded(self, data: DataSet, task: int) -> Array:
        motors, effort = MotorModel(self._robot, self._robot.hover_thrust), data.effort[task].astype(float)
        return np.stack([motors.advance(command, self._robot.control_period_s) for command in effort])


def true_context(robot: Quadrotor, task: QuadrotorTask) -> Array:
    """Coefficients (24,) of payload, rotors, push and drag that describe a task best.

    Push: effect of the mean wind on a quadrotor that stands level in it. Drag: that of still air.
    """
    air = Aerodynamics(robot, [task])
    square = (hover_command(robot, task) / robot.thrust_coefficient)[None]
    level, height, still = np.eye(3)[None], np.full((1, 1), 100.0), np.zeros((1, 6))
    push = air.force(level, height, still, task.wind.mean_m_s[None], square) - air.force(
        level, height, still, still[:, :3], square
    )
    linear = task.drag_scale[0] * robot.rotor_drag * np.sqrt(square).sum()
    quadratic = task.drag_scale[1] * robot.parasitic_drag[[0, 2]]
    payload, rotors = task.payload.inertial_parameters(), task.thrust_gain - 1.0
    return np.concatenate([payload, rotors, push[0], linear, quadratic])


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
