# SPDX-License-Identifier: Apache-2.0
"""Tasks of a ground vehicle: the ground, the load, the drives and the sensors of one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.sim.physics_time import MAX_DELAY_S
from metarl_robot.sim.task_data import TaskData

Array = NDArray[np.float64]

FORCE, CONTACT = "force", "contact"
"""Physics of the tyres: forces of a tyre model on a planar body, or wheels in contact with the ground."""
_OF_CONTACT = ("tyre", "bump_height_m")
_STEERING_DELAY = "steering_delay_s"
_OF_IMU = ("accelerometer_noise_m_s2", "accelerometer_bias_m_s2", "gyro_bias_rad_s")
_POSITIVE = ("friction", "right_share", "stiffness_scale", "motor_strength")
_NOT_NEGATIVE = (
    "rolling_resistance",
    "payload_mass_kg",
    "bump_height_m",
    "position_noise_m",
    "yaw_noise_rad",
    "velocity_noise_m_s",
    "yaw_rate_noise_rad_s",
    "accelerometer_noise_m_s2",
)


@dataclass(frozen=True, eq=False)
class GroundTask(TaskData):
    """One draw of physical conditions, as plain data.

    friction: peak friction of the ground; right_share: that under the right wheels, relative to the left.
    stiffness_scale: slip stiffness over the description's. rolling_resistance: force per load. slope_rad: (2,) rise of
    the ground along world x and y. payload_mass_kg, payload_position_m: (3,) a rigid load [body]. steering_offset_rad:
    angle of the wheels at a command of 0. motor_strength: torque over the commanded one. command_delay_s,
    sensor_delay_s: time from a command to its effect, from a state to its measurement. *_noise_*: standard deviations.
    steering_delay_s: further time from a command to its effect on the steering servo.
    wheel_odometry: states come from wheels and a localiser (sensors.py) instead of exact odometry. imu: also from an
    IMU with accelerometer_noise_m_s2, accelerometer_bias_m_s2 (3,) and gyro_bias_rad_s; it needs wheel_odometry.
    tyre: FORCE or CONTACT. bump_height_m: standard deviation of the ground's height, under wheels in contact only.
    """

    friction: float = 1.05
    right_share: float = 1.0
    stiffness_scale: float = 1.0
    rolling_resistance: float = 0.015
    slope_rad: Array = (0.0, 0.0)  # type: ignore[assignment]
    payload_mass_kg: float = 0.0
    payload_position_m: Array = (0.0, 0.0, 0.1)  # type: ignore[assignment]
    steering_offset_rad: float = 0.0
    motor_strength: float = 1.0
    command_delay_s: float = 0.0
    sensor_delay_s: float = 0.0
    position_noise_m: float = 0.0
    yaw_noise_rad: float = 0.0
    velocity_noise_m_s: float = 0.0
    yaw_rate_noise_rad_s: float = 0.0
    tyre: str = FORCE
    bump_height_m: float = 0.0
    steering_delay_s: float = 0.0
    wheel_odometry: bool = False
    imu: bool = False
    accelerometer_noise_m_s2: float = 0.0
    accelerometer_bias_m_s2: Array = (0.0, 0.0, 0.0)  # type: ignore[assignment]
    gyro_bias_rad_s: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tyre not in (FORCE, CONTACT):
            raise SignalError(f"task: tyre must be '{FORCE}' or '{CONTACT}'; given '{self.tyre}'")
        if self.bump_height_m > 0.0 and self.tyre != CONTACT:
            raise SignalError(f"task: bumps need wheels in contact; set tyre to '{CONTACT}', or bump_height_m to 0")
        if self.imu and not self.wheel_odometry:
            raise SignalError(
                "task: an IMU is used with wheel odometry only; set wheel_odometry to true, or imu to false"
            )
        for name in _POSITIVE:
            if not getattr(self, name) > 0.0:
                raise SignalError(f"task: {name} must be > 0; given {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0.0:
                raise SignalError(f"task: {name} must be >= 0; given {getattr(self, name)}")
        for name in ("command_delay_s", "sensor_delay_s", _STEERING_DELAY):
            if not 0.0 <= getattr(self, name) <= MAX_DELAY_S:
                raise SignalError(f"task: {name} must be in [0, {MAX_DELAY_S}] s; given {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """See TaskData. Contact, a servo's delay and sensors have keys only where used: data sets keep their hash."""
        content = super().to_dict()
        left_out = () if self.tyre == CONTACT else _OF_CONTACT
        left_out = left_out if self.steering_delay_s else (*left_out, _STEERING_DELAY)
        left_out = left_out if self.wheel_odometry else (*left_out, "wheel_odometry")
        left_out = left_out if self.imu else (*left_out, "imu", *_OF_IMU)
        return {key: value for key, value in content.items() if key not in left_out}

    def friction_at(self, places: Array, right: NDArray[np.bool_]) -> Array:
        """Frictions (n,) of the ground at places (n, 2), under wheels that are on the right side or not (n,)."""
        return np.where(right, self.right_share, 1.0) * self.friction

    @property
    def mean_friction(self) -> float:
        """Mean of the two sides' frictions."""
        return 0.5 * (1.0 + self.right_share) * self.friction


@dataclass(frozen=True, eq=False)
class PatchedTask(GroundTask):
    """A task with a disc of another friction on the ground: x, y and radius [m; world].

    Each side of the vehicle has the friction at its middle. Of a task that a plant gives, `friction` and `right_share`
    are those at the vehicle's present place.
    """

    patch_x_m: float = 0.0
    patch_y_m: float = 0.0
    patch_radius_m: float = 1.0
    patch_friction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("patch_radius_m", "patch_friction"):
            if not getattr(self, name) > 0.0:
                raise SignalError(f"task: {name} must be > 0; given {getattr(self, name)}")

    def on_patch(self, places: Array) -> NDArray[np.bool_]:
        """Whether places (n, 2) are on the patch (n,)."""
        away = places - (self.patch_x_m, self.patch_y_m)
        return np.asarray(np.hypot(away[:, 0], away[:, 1]) < self.patch_radius_m)

    def friction_at(self, places: Array, right: NDArray[np.bool_]) -> Array:
        return np.where(self.on_patch(places), self.patch_friction, super().friction_at(places, right))

    def under(self, on_left: bool, on_right: bool) -> PatchedTask:
        """The task while the left or right side is on the patch."""
        left = self.patch_friction if on_left else self.friction
        right = self.patch_friction if on_right else self.friction * self.right_share
        return replace(self, friction=left, right_share=right / left)
