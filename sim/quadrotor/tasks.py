# SPDX-License-Identifier: Apache-2.0
"""Tasks of a quadrotor: the physical conditions of one flight.

Wind is mean + swing sin(ω t) + gusts, a velocity of the air in the world; with a wall it blows on one side only. Gusts
follow MIL-F-8785C's Dryden model (wind.py). A payload is rigid on the payload site, or hangs below it on a massless
rod.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError, one_line
from metarl_robot.robots.quadrotor.description import FEWEST_ROTORS, Quadrotor
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.physics_time import MAX_DELAY_S
from metarl_robot.sim.task_fields import finite_vector, known_keys, plain

Array = NDArray[np.float64]

NOISES = (
    "position_noise_m",
    "attitude_noise_rad",
    "velocity_noise_m_s",
    "gyro_noise_rad_s",
    "accelerometer_noise_m_s2",
)


@dataclass(frozen=True, eq=False)
class Wall:
    """Wind blows where normal · position > offset_m, at full strength from edge_m on.

    normal: (3,) unit vector [world].
    """

    normal: Array
    offset_m: float
    edge_m: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "normal", finite_vector("wall normal", self.normal, 3))
        if abs(np.linalg.norm(self.normal) - 1.0) > 1e-6:
            raise SignalError(f"task: wall normal must have length 1; given {self.normal.tolist()}")
        if not (np.isfinite(self.offset_m) and np.isfinite(self.edge_m) and self.edge_m > 0.0):
            raise SignalError(
                f"task: wall needs a finite offset_m and edge_m > 0; given {self.offset_m} and {self.edge_m}"
            )


@dataclass(frozen=True, eq=False)
class Wind:
    """Velocity of the air [m/s; world].

    mean_m_s: (3,). swing_m_s: (3,) amplitude of a sinusoid of angular frequency swing_rad_s, zero at t = 0. gust_m_s:
    standard deviation of horizontal gusts; gust_seed: their seed. wall: None for wind everywhere.
    """

    mean_m_s: Array = (0.0, 0.0, 0.0)  # type: ignore[assignment]
    swing_m_s: Array = (0.0, 0.0, 0.0)  # type: ignore[assignment]
    swing_rad_s: float = 1.0
    gust_m_s: float = 0.0
    gust_seed: int = 0
    wall: Wall | None = None

    def __post_init__(self) -> None:
        for name in ("mean_m_s", "swing_m_s"):
            object.__setattr__(self, name, finite_vector(f"wind {name}", getattr(self, name), 3))
        for name in ("swing_rad_s", "gust_m_s"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise SignalError(f"task: wind {name} must be finite and >= 0; given {getattr(self, name)}")
        if self.gust_seed < 0:
            raise SignalError(f"task: wind gust_seed must be >= 0; given {self.gust_seed}")


@dataclass(frozen=True, eq=False)
class QuadrotorTask:
    """One draw of physical conditions, as plain data.

    payload: carried by the quadrotor. sling_m: 0 for a rigid payload; else it hangs as a point mass on a rod of that
    length. drag_scale: (2,) rotor drag and parasitic drag over the description's. effectiveness: (k,) thrust of the
    first k rotors over that of a sound one at the same speed, further rotors are like the last of them; battery: the
    same factor for all. ground_effect: whether the ground adds thrust. command_delay_s, sensor_delay_s: time from a
    command to its effect, from a state to its measurement. *_noise_*: standard deviations of the measurements, each
    axis. member: index of the flying quadrotor in a family (family.py); None: the robot itself. imu: whether the
    specific force is measured; accelerometer_bias_m_s2: (3,) its constant error. mass_scale, inertia_scale (3,): of
    the quadrotor without payload, over the description's; com_m: (3,) its centre of mass [body]. crash_tilt_deg: a
    run with a larger tilt has crashed; 180: only contact is a crash. crash_impact_m_s: a contact at this speed or
    faster is a crash; 0: every contact. push_n: (3,) external force at the quadrotor's own centre of mass [N; world].
    """

    payload: Payload = Payload()
    sling_m: float = 0.0
    wind: Wind = Wind()
    drag_scale: Array = (1.0, 1.0)  # type: ignore[assignment]
    effectiveness: Array = (1.0,)  # type: ignore[assignment]
    battery: float = 1.0
    ground_effect: bool = True
    command_delay_s: float = 0.0
    sensor_delay_s: float = 0.0
    position_noise_m: float = 0.0
    attitude_noise_rad: float = 0.0
    velocity_noise_m_s: float = 0.0
    gyro_noise_rad_s: float = 0.0
    accelerometer_noise_m_s2: float = 0.0
    member: int | None = None
    imu: bool = True
    accelerometer_bias_m_s2: Array = (0.0, 0.0, 0.0)  # type: ignore[assignment]
    mass_scale: float = 1.0
    inertia_scale: Array = (1.0, 1.0, 1.0)  # type: ignore[assignment]
    com_m: Array = (0.0, 0.0, 0.0)  # type: ignore[assignment]
    crash_tilt_deg: float = 100.0
    crash_impact_m_s: float = 0.0
    push_n: Array = (0.0, 0.0, 0.0)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("accelerometer_bias_m_s2", "com_m", "push_n"):
            object.__setattr__(self, name, finite_vector(name, getattr(self, name), 3))
        if not (np.isfinite(self.mass_scale) and self.mass_scale > 0.0):
            raise SignalError(f"task: mass_scale must be finite and > 0; given {self.mass_scale}")
        if not 0.0 < self.crash_tilt_deg <= 180.0:
            raise SignalError(f"task: crash_tilt_deg must be in (0, 180]; given {self.crash_tilt_deg}")
        for name, size in (("drag_scale", 2), ("effectiveness", None), ("inertia_scale", 3)):
            object.__setattr__(self, name, finite_vector(name, getattr(self, name), size))
            if np.any(getattr(self, name) < 0.0):
                raise SignalError(f"task: {name} must hold numbers >= 0; given {getattr(self, name).tolist()}")
        if 1 < self.effectiveness.size < FEWEST_ROTORS or self.effectiveness.size == 0:
            raise SignalError(
                f"task: effectiveness must hold one number, or one for each rotor; given {self.effectiveness.tolist()}"
            )
        for name in ("command_delay_s", "sensor_delay_s"):
            if not 0.0 <= getattr(self, name) <= MAX_DELAY_S:
                raise SignalError(f"task: {name} must be in [0, {MAX_DELAY_S}] s; given {getattr(self, name)}")
        for name in ("sling_m", "crash_impact_m_s", *NOISES):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise SignalError(f"task: {name} must be finite and >= 0; given {getattr(self, name)}")
        if not (np.isfinite(self.battery) and self.battery > 0.0):
            raise SignalError(f"task: battery must be finite and > 0; given {self.battery}")
        if self.sling_m > 0.0 and self.payload.mass_kg == 0.0:
            raise SignalError("task: a payload on a sling needs a mass")

    def thrust_gain(self, robot: Quadrotor) -> Array:
        """Thrust (n,) of each rotor over that of a sound one with a fresh battery at the same speed.

        Raises:
            SignalError: effectiveness is of more rotors than the robot has.
        """
        given = self.effectiveness.size
        if given > robot.nu:
            raise SignalError(f"task: effectiveness holds {given} numbers; {robot.name} has {robot.nu} rotors")
        return self.battery * np.pad(self.effectiveness, (0, robot.nu - given), mode="edge")

    @property
    def altered(self) -> bool:
        """Whether the quadrotor itself, without payload, differs from its description."""
        return self.mass_scale != 1.0 or bool(np.any(self.inertia_scale != 1.0)) or bool(np.any(self.com_m != 0.0))

    def hover_square_speed(self, robot: Quadrotor) -> Array:
        """Squared speeds (n,) of the rotors in a level hover in still air [rad²/s²]."""
        from metarl_robot.sim.quadrotor.model import hover_command

        return hover_command(robot, self) / robot.thrust_coefficient

    def mean_wind_force(self, robot: Quadrotor) -> Array:
        """Effect (6,) of the mean wind on a level quadrotor: force [N; world] and torque [Nm; body]."""
        from metarl_robot.sim.quadrotor.aerodynamics import mean_wind_force

        return mean_wind_force(robot, self)

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists, booleans and nested dictionaries, ready for JSON."""
        content: dict[str, Any] = plain(asdict(self))
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> QuadrotorTask:
        """Invert to_dict; missing values are those of the nominal task.

        Raises:
            SignalError: a key is unknown or a value of the wrong kind; the message names it.
        """
        content = known_keys(cls, content)
        try:
            if "payload" in content:
                content["payload"] = Payload(**known_keys(Payload, content["payload"]))
            if "wind" in content:
                wind = known_keys(Wind, content["wind"])
                wall = wind.get("wall")
                content["wind"] = Wind(**{**wind, "wall": None if wall is None else Wall(**known_keys(Wall, wall))})
            return cls(**content)
        except (TypeError, ValueError) as error:
            raise SignalError(f"task: {one_line(error)}") from error
