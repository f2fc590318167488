# SPDX-License-Identifier: Apache-2.0
"""Sensors of a simulated vehicle without exact odometry: its wheels, a localiser and an IMU.

Wheel odometry knows no side slip. With the speeds u_l, u_r [m/s] of the driven wheels' circumference on each side, and
the angle δ of the steering servo, without the offset that nobody knows,

    u = (u_l + u_r) / 2,    ψ' = u tan(δ) / wheelbase     of the rear axle, with a steered axle
                            ψ' = (u_r - u_l) / track      with skid steering

integrated to a pose. A localiser gives poses every LOCALISER_PERIOD_S, LOCALISER_LATE_S late, with the task's noise of
position and yaw. An IMU, level at the vehicle's reference point, gives the yaw rate and the mean specific force
Rᵀ (Δv / Δt - g) since the last measurement. States are those that a node makes of these messages: by
robots/ground/inertial_odometry.py with an IMU, else by slip_odometry.py. Over ROS 2 the nodes do it themselves: the
plant then gives the sensors' own values.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.heading import turns
from metarl_robot.robots.ground.inertial_odometry import InertialOdometry
from metarl_robot.robots.ground.localisation import CORRECTION_S, Localisation
from metarl_robot.robots.ground.slip_odometry import SlipOdometry
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]

LOCALISER_PERIOD_S, LOCALISER_LATE_S = 0.04, 0.05


class Moment(NamedTuple):
    """True position and velocity (3,), and pose and body twist (3,) by the wheels."""

    q: Array
    v: Array
    pose: Array
    twist: Array


class WheelOdometry:
    """Pose (3,) and body twist (3,) that the wheels show."""

    def __init__(self, robot: Ground, physics_dt_s: float) -> None:
        driven, left = robot.track.torque_share.any(axis=1), robot.track.positions[:, 1] > 0.0
        self._sides, self._robot, self._dt = (driven & left, driven & ~left), robot, physics_dt_s
        steered, x = robot.track.steered, robot.track.positions[:, 0]
        self._axle_m = float(x[~steered].min()) if robot.is_steered else 0.0

    def restart(self, q: Array) -> None:
        self.pose, self.twist = q.copy(), np.zeros(3)

    def move(self, wheel_speeds: Array, acting: Array) -> None:
        """One physics step, with the wheels' speeds (w,) [rad/s] and the actuators' outputs (nu,)."""
        robot = self._robot
        left, right = (robot.wheel_radius_m * float(wheel_speeds[side].mean()) for side in self._sides)
        forward, rate = 0.5 * (left + right), (right - left) / robot.track_m
        if robot.is_steered:
            rate = forward * np.tan(acting[0]) / robot.wheelbase_m
        self.twist = np.array([forward, -self._axle_m * rate, rate])
        self.pose = self.pose + self._dt * (turns(self.pose[2] + 0.5 * self._dt * rate) @ self.twist)


class Pose(NamedTuple):
    """A localiser's pose (3,), and the time between it and the measurement with which it comes [s]."""

    age_s: float
    pose: Array


class WheelSensors:
    """Wheel odometry and a localiser, with or without an IMU.

    poses: those of the localiser that came with the last measurement.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._localisation = Localisation(CORRECTION_S)
        self._inertial, self._slipping = InertialOdometry(self._localisation), SlipOdometry(self._localisation)
        self._late: deque[tuple[float, Array]] = deque()
        self._next_s = -np.inf
        self._last: tuple[float, Moment] | None = None
        self.poses: list[Pose] = []

    def state(self, time_s: float, now: Moment, task: GroundTask, noise: Array, rng: np.random.Generator) -> State:
        """The state that a node makes of a measurement; arguments as for `measure`."""
        measured = self.measure(time_s, now, task, noise, rng)
        for age_s, pose in self.poses:
            self._localisation.localised(time_s - age_s, pose)
        corrected = (self._inertial if task.imu else self._slipping).corrected(time_s, measured)
        assert corrected is not None
        return corrected

    def measure(self, time_s: float, now: Moment, task: GroundTask, noise: Array, rng: np.random.Generator) -> State:
        """Pose and twist of the wheels at a measurement's time [s]. noise: (6,) of pose and velocity.

        With an IMU also its specific force, and the yaw rate is the gyroscope's.
        """
        self._localise(time_s, now.q + noise[:3])
        twist = turns(now.pose[2]) @ now.twist
        force = None
        if task.imu:
            twist[2] = now.v[2] + task.gyro_bias_rad_s
            force = self._specific_force(time_s, now, task)
            force += task.accelerometer_bias_m_s2 + task.accelerometer_noise_m_s2 * rng.standard_normal(3)
        return State(now.pose, twist + noise[3:], force)

    def _localise(self, time_s: float, pose: Array) -> None:
        if time_s >= self._next_s - 1e-9:
            first = self._next_s == -np.inf
            self._next_s = time_s + LOCALISER_PERIOD_S
            self._late.append((time_s - LOCALISER_LATE_S * first, pose))
        self.poses = []
        while self._late and self._late[0][0] <= time_s - LOCALISER_LATE_S + 1e-9:
            since_s, pose = self._late.popleft()
            self.poses.append(Pose(time_s - since_s, pose))

    def _specific_force(self, time_s: float, now: Moment, task: GroundTask) -> Array:
        """(3,) [m/s²; body], without errors."""
        up, last, self._last = np.tan(task.slope_rad), self._last, (time_s, now)
        gravity = GRAVITY_M_S2 / np.sqrt(1.0 + up @ up)
        world, yaw = np.array([*(gravity * up), gravity]), now.q[2]
        if last is not None and time_s > last[0]:
            world[:2] += (now.v - last[1].v)[:2] / (time_s - last[0])
            yaw = 0.5 * (yaw + last[1].q[2])
        return np.asarray(turns(-yaw) @ world)
