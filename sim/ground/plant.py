# SPDX-License-Identifier: Apache-2.0
"""A simulated ground vehicle under a task: executes commands and returns measurements.

The task chooses the physics of its bodies and tyres (chassis.py); a slope is a tilt of gravity. At physics step k the
actuators follow the newest command issued at or before step k - d_c: first-order lags, and a steering rate; the
steering servo may follow later than the drives. A measurement shows the state at step k - d_s with Gaussian noise, or
what wheels, localiser and IMU show of it (sensors.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.signals import State
from metarl_robot.robots.ground.description import Ground
from metarl_robot.sim.ground.chassis import Chassis
from metarl_robot.sim.ground.contact_chassis import ContactChassis
from metarl_robot.sim.ground.planar_chassis import PlanarChassis
from metarl_robot.sim.ground.sensors import Moment, Pose, WheelOdometry, WheelSensors
from metarl_robot.sim.ground.task import CONTACT, GroundTask, PatchedTask
from metarl_robot.sim.physics_time import MAX_DELAY_S, PHYSICS_DT_S, whole_steps

Array = NDArray[np.float64]

_LIMIT_TOLERANCE = 1e-6
SPIN_RAD = np.pi / 4.0
"""A larger side-slip angle at more than SPIN_M_S is a spin."""
SPIN_M_S = 0.5


@dataclass(frozen=True)
class Violations:
    """Counts of physics steps: command, speed or yaw rate beyond a limit; `any` counts each step once."""

    command: int
    velocity: int
    any: int


class GroundPlant:
    """See the module's docstring, and metarl_robot.sim.kinds.Plant.

    spins: number of times that the side-slip angle exceeded SPIN_RAD.
    """

    def __init__(self, robot: Ground, task: GroundTask, seed: int = 0, physics_dt_s: float = PHYSICS_DT_S) -> None:
        self.robot, self._seed, self._dt = robot, seed, physics_dt_s
        self._chassis = self._chassis_of(task)
        self._wheels, self._sensors = WheelOdometry(robot, physics_dt_s), WheelSensors()
        self._left = np.exp(-physics_dt_s / robot.lag_s)
        self._shown: dict[str, Any] = {}
        self._install(task)
        self.reset()

    def show_sensors(self, imu: bool) -> None:
        """From now on measure by the wheels' odometry itself, and by an IMU if asked; see also `localised`."""
        self._shown = {"wheel_odometry": True, "imu": imu}
        self._install(self._task)

    def _install(self, task: GroundTask) -> None:
        task = replace(task, **self._shown) if self._shown else task
        self._task = task
        self._places = {(False, False): task}
        if isinstance(task, PatchedTask):
            self._places = {(left, right): task.under(left, right) for left, right in product((False, True), repeat=2)}
        self._sides = (False, False)
        self._chassis.install(task)
        self._command_steps, self._steering_steps, self._sensor_steps = (
            whole_steps(delay, self._dt) for delay in (task.command_delay_s, task.steering_delay_s, task.sensor_delay_s)
        )
        self._noise = np.array(
            [*(task.position_noise_m,) * 2, task.yaw_noise_rad, *(task.velocity_noise_m_s,) * 2,
             task.yaw_rate_noise_rad_s]
        )  # fmt: skip

    def _chassis_of(self, task: GroundTask) -> Chassis:
        if task.tyre == CONTACT:
            return ContactChassis(self.robot, self._dt, task.bump_height_m, self._seed)
        return PlanarChassis(self.robot, self._dt)

    def reset(self, q: Array | None = None, v: Array | None = None) -> State:
        q = self.robot.home if q is None else self._checked("position", q, 3)
        v = np.zeros(3) if v is None else self._checked("velocity", v, 3)
        self._chassis.reset(q, v)
        self._rng = np.random.default_rng(self._seed)
        self._steps, self._spinning, self.spins = 0, False, 0
        self._acting, self._mean_acting = np.zeros(self.robot.nu), np.zeros(self.robot.nu)
        self._sides = self._on_patch(q)
        self._wheels.restart(q)
        self._sensors.restart()
        self._states = deque(
            [Moment(q.copy(), v.copy(), self._wheels.pose, self._wheels.twist)],
            maxlen=whole_steps(MAX_DELAY_S, self._dt) + 1,
        )
        self._issued: deque[tuple[int, Array]] = deque([(-2 * whole_steps(MAX_DELAY_S, self._dt), self._acting)])
        self._counts = np.zeros(3, int)
        return self._sense()

    def step(self, effort: Array, duration_s: float) -> State:
        effort = self._checked("effort", effort, self.robot.nu)
        count = round(duration_s / self._dt)
        if count < 1 or abs(count * self._dt - duration_s) > 1e-9:
            raise SignalError(
                f"plant: duration {duration_s} s is not a positive multiple of the physics step {self._dt} s"
            )
        within = np.clip(effort, self.robot.effort_lower, self.robot.effort_limit)
        self._issued.append((self._steps, within))
        overdriven = bool(np.any(np.abs(effort - within) > _LIMIT_TOLERANCE))
        acted = np.zeros(self.robot.nu)
        for _ in range(count):
            self._move(overdriven)
            acted += self._acting
        self._mean_acting = acted / count
        if not np.all(np.isfinite(self._states[-1][1])):
            raise MetaRLError(
                f"plant: the simulation of '{self.robot.name}' diverged at {self.time:.3f} s; the task is "
                f"{self._task.to_dict()}"
            )
        return self._sense()

    def _move(self, overdriven: bool) -> None:
        """One physics step."""
        self._actuate(self._command_in_effect())
        self._sides = self._on_patch(self._chassis.state()[0])
        self._chassis.move(self._effective(), self.task)
        self._steps += 1
        q, v = self._chassis.state()
        if self._task.wheel_odometry:
            self._wheels.move(self._chassis.wheel_speeds, self._acting)
        self._states.append(Moment(q, v, self._wheels.pose, self._wheels.twist))
        self._count(q, v, overdriven)

    def _on_patch(self, q: Array) -> tuple[bool, bool]:
        """Whether the middle of the left and of the right side is on the task's patch."""
        task = self._task
        if not isinstance(task, PatchedTask):
            return False, False
        left = 0.5 * self.robot.track_m * np.array([-np.sin(q[2]), np.cos(q[2])])
        on_left, on_right = task.on_patch(np.array([q[:2] + left, q[:2] - left]))
        return bool(on_left), bool(on_right)

    def _actuate(self, command: Array) -> None:
        """Advance the actuators: a first-order lag, and rates."""
        step = (1.0 - self._left) * (command - self._acting)
        most = self.robot.effort_rate_limit * self._dt
        self._acting = self._acting + np.clip(step, -most, most)

    def _effective(self) -> Array:
        """Efforts (nu,) that act: torques by the motors' strength, the steering with its offset."""
        if not self.robot.is_steered:
            return self._task.motor_strength * self._acting
        angle, torque = self._acting
        return np.array([angle + self._task.steering_offset_rad, self._task.motor_strength * torque])

    def _command_in_effect(self) -> Array:
        latest = self._steps - self._command_steps
        steered = latest - self._steering_steps
        while len(self._issued) > 1 and self._issued[1][0] <= steered:
            self._issued.popleft()
        if not self._steering_steps:
            return self._issued[0][1]
        newest = next(command for step, command in reversed(self._issued) if step <= latest)
        return np.where(self.robot.torque_channels, newest, self._issued[0][1])

    def _count(self, q: Array, v: Array, overdriven: bool) -> None:
        fast = bool(np.hypot(v[0], v[1]) > self.robot.velocity_limit[0] + _LIMIT_TOLERANCE)
        fast |= bool(abs(v[2]) > self.robot.velocity_limit[2] + _LIMIT_TOLERANCE)
        self._counts += [overdriven, fast, overdriven or fast]
        c, s = np.cos(q[2]), np.sin(q[2])
        forward, sideways = c * v[0] + s * v[1], c * v[1] - s * v[0]
        spinning = bool(np.hypot(forward, sideways) > SPIN_M_S and np.arctan2(abs(sideways), abs(forward)) > SPIN_RAD)
        self.spins += spinning and not self._spinning
        self._spinning = spinning

    def _sense(self) -> State:
        noise = self._noise * self._rng.standard_normal(6)
        now = self._states[-1 - min(self._sensor_steps, len(self._states) - 1)]
        self._measured_at = self._steps - self._sensor_steps
        if self._task.wheel_odometry:
            sensed = self._sensors.measure if self._shown else self._sensors.state
            self._measured = sensed(self._measured_at * self._dt, now, self.task, noise, self._rng)
        else:
            self._measured = State(now.q + noise[:3], now.v + noise[3:])
        return self._measured

    def set_task(self, task: GroundTask) -> None:
        if (task.tyre, task.bump_height_m) != (self._task.tyre, self._task.bump_height_m):
            self._chassis = self._chassis_of(task)
            self._chassis.install(task)
            self._chassis.reset(*self._states[-1][:2])
        self._install(task)
        self._sides = self._on_patch(self.truth.q)

    def measure(self) -> State:
        return self._measured

    @property
    def localised(self) -> list[Pose]:
        """Poses of the localiser that came with the last measurement; of wheel odometry only."""
        return self._sensors.poses

    @property
    def task(self) -> GroundTask:
        """The task at the vehicle's position; a new object only where the conditions change."""
        return self._places[self._sides]

    @property
    def quantities(self) -> Array:
        """True values of the robot's reports: friction, rolling resistance, slope (2), mass of the load."""
        task = self.task
        return np.array([task.mean_friction, task.rolling_resistance, *np.tan(task.slope_rad), task.payload_mass_kg])

    @property
    def time(self) -> float:
        return self._steps * self._dt

    @property
    def stamp(self) -> float:
        return self._measured_at * self._dt

    @property
    def truth(self) -> State:
        now = self._states[-1]
        return State(now.q.copy(), now.v.copy())

    @property
    def wheel_speeds(self) -> Array:
        """Speeds (w,) of the wheels [rad/s]."""
        return self._chassis.wheel_speeds.copy()

    @property
    def mean_actuators(self) -> Array:
        """Mean output (nu,) of the actuators over the last step, without errors of strength and offset."""
        return self._mean_acting.copy()

    @property
    def applied_effort(self) -> Array:
        return self._effective().copy()

    @property
    def crashed(self) -> bool:
        """Whether the vehicle has overturned."""
        return self._chassis.overturned

    @property
    def violations(self) -> Violations:
        return Violations(*(int(count) for count in self._counts))

    def _checked(self, name: str, values: Array, size: int) -> Array:
        array = np.asarray(values, float)
        if array.shape != (size,):
            raise SignalError(f"plant: {name} has shape {array.shape}; {self.robot.name} needs ({size},)")
        if not np.all(np.isfinite(array)):
            raise SignalError(f"plant: {name} holds a value that is not finite: {array.tolist()}")
        return array
