# SPDX-License-Identifier: Apache-2.0
"""Units, signs and names of the Crazyflie firmware's commands, logs and supervisor. World ENU, body FLU, as ours.

Commander setpoint (CRTP port 3), with the parameters `RATE_MODE` set:

    roll, pitch [deg/s], yaw rate [deg/s], thrust of each motor in [0, 65535]

The firmware compares its setpoint of pitch with -gyro.y (legacy frame: nose up is positive), and cflib's
`send_setpoint` negates pitch before it sends it. Arguments of cflib, and of crazyswarm2's cmd_vel_legacy, are
therefore body rates (FLU), all with our signs. In `stateEstimateZ` the pitch rate has the legacy sign.

The firmware takes thrust only after a setpoint with thrust 0 (thrust lock), stops the motors below `LEAST_PWM`, and
clips above `MOST_PWM`. The yaw rate moves a yaw angle that the firmware holds (an integral of its own); the parameter
stabModeYaw changes nothing. A setpoint is valid for 0.5 s, then the firmware levels out, and after 2 s it stops the
motors and locks.

Full state (CRTP port 7, type 6): position, velocity and acceleration in the world, attitude and body rates (FLU), as
16-bit numbers of mm, mm/s, mm/s² and mrad/s, and a quaternion of 32 bits. cflib's `send_full_state_setpoint` multiplies
rates by 1000 and the firmware reads mrad/s, so that its arguments are rad/s; its docstring says deg/s. They are the
fields of crazyswarm2's FullState, too. Of the firmware's controllers the default one (PID) uses position and heading
only, the one after Mellinger and Kumar (`FULL_STATE_MODE`) all but the attitude's tilt.

Source: crazyflie-firmware (2025), src/modules/src: crtp_commander_rpyt.c, crtp_commander_generic.c,
controller/controller_pid.c, controller/controller_mellinger.c, stabilizer.c, supervisor.c; cflib 0.1.34,
cflib/crazyflie/commander.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from math import degrees, isfinite, pi
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.autopilot.motion import Motion
from metarl_robot.robots.quadrotor.autopilot.offboard import Vehicle
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2

Array = NDArray[np.float64]

LEAST_PWM, MOST_PWM = 1000, 60000
RATE_MODE = {"flightmode.stabModeRoll": 0, "flightmode.stabModePitch": 0, "flightmode.stabModeYaw": 0}
"""Parameters of the firmware with which roll and pitch of a setpoint are rates."""
USUAL_MODE = {"flightmode.stabModeRoll": 1, "flightmode.stabModePitch": 1, "flightmode.stabModeYaw": 0}
"""Their values of delivery: roll and pitch are angles."""
FULL_STATE_MODE = {"stabilizer.controller": 2}
"""The controller that uses velocities, accelerations and rates of a setpoint."""
FORCE_SCALE = ("ctrlMel.mass", "ctrlMel.massThrust")
"""Its mass [kg] and motor units per force [N]: their product is the thrust per specific force."""
USUAL_CONTROLLER = {"stabilizer.controller": 1}
"""Its value of delivery."""
MOST_FULL_STATE = 32.767
"""Largest number that a full-state setpoint carries: m, m/s, m/s², rad/s."""

STATE_LOG = (
    ("stateEstimateZ.x", "int16_t"), ("stateEstimateZ.y", "int16_t"), ("stateEstimateZ.z", "int16_t"),
    ("stateEstimateZ.vx", "int16_t"), ("stateEstimateZ.vy", "int16_t"), ("stateEstimateZ.vz", "int16_t"),
    ("stateEstimate.qw", "FP16"), ("stateEstimate.qx", "FP16"), ("stateEstimate.qy", "FP16"),
    ("stateEstimate.qz", "FP16"), ("stateEstimateZ.rateRoll", "int16_t"), ("stateEstimateZ.ratePitch", "int16_t"),
    ("stateEstimateZ.rateYaw", "int16_t"),
)  # fmt: skip
"""One block of 26 bytes, the most that a block can hold: mm, mm/s, -, mrad/s."""
INERTIAL_LOG = (
    ("acc.x", "float"), ("acc.y", "float"), ("acc.z", "float"),
    ("gyro.x", "float"), ("gyro.y", "float"), ("gyro.z", "float"), ("stabilizer.thrust", "FP16"),
)  # fmt: skip
"""g, deg/s, motor units."""
STATUS_LOG = (("supervisor.info", "uint16_t"), ("pm.vbat", "float"))

_TICKS = 1 << 24


class Supervisor(IntFlag):
    """Bits of the log variable supervisor.info."""

    CAN_BE_ARMED = 0x01
    ARMED = 0x02
    ARMS_ITSELF = 0x04
    CAN_FLY = 0x08
    FLYING = 0x10
    TUMBLED = 0x20
    LOCKED = 0x40
    CRASHED = 0x80


_FAILED = Supervisor.TUMBLED | Supervisor.LOCKED | Supervisor.CRASHED


class RatesAndThrust(NamedTuple):
    """Arguments of cflib's `send_setpoint`: rates [deg/s] and thrust in motor units."""

    roll: float
    pitch: float
    yaw: float
    thrust: int


def rates_and_thrust(setpoint: RateSetpoint) -> RatesAndThrust | None:
    """The arguments for a setpoint; None if it is not finite. Thrust 1 is `MOST_PWM`; the motors keep turning at 0."""
    if not (np.isfinite(setpoint.rates).all() and isfinite(setpoint.thrust)):
        return None
    roll, pitch, yaw = (degrees(rate) for rate in setpoint.rates.tolist())
    return RatesAndThrust(roll, pitch, yaw, int(np.clip(round(setpoint.thrust * MOST_PWM), LEAST_PWM, MOST_PWM)))


class FullState(NamedTuple):
    """Arguments of cflib's `send_full_state_setpoint`: m, m/s, m/s², xyzw, rad/s."""

    position: list[float]
    velocity: list[float]
    acceleration: list[float]
    xyzw: list[float]
    roll_rate: float
    pitch_rate: float
    yaw_rate: float


def full_state(motion: Motion) -> FullState | None:
    """The arguments for a motion; None if it is not finite or its position cannot be sent. The rest is limited."""
    numbers = np.concatenate(motion)
    if not np.isfinite(numbers).all() or np.abs(motion.position).max() > MOST_FULL_STATE:
        return None
    position, velocity, acceleration, rates = (
        np.clip(each, -MOST_FULL_STATE, MOST_FULL_STATE).tolist()
        for each in (motion.position, motion.velocity, motion.acceleration, motion.rates)
    )
    w, x, y, z = motion.q.tolist()
    return FullState(position, velocity, acceleration, [x, y, z, w], *rates)


def normalised(pwm: float) -> float:
    """Normalised thrust of a thrust in motor units."""
    return float(np.clip(pwm / MOST_PWM, 0.0, 1.0))


def share_of(pwm: float, pwm_per_m_s2: float, full_m_s2: float) -> float:
    """Thrust in motor units as the share of full thrust that full states command for it.

    pwm_per_m_s2: the product of `FORCE_SCALE`. full_m_s2: specific force of the nominal robot's full thrust.
    """
    return float(np.clip(pwm / (pwm_per_m_s2 * full_m_s2), 0.0, 1.0))


def state_of(log: Mapping[str, float]) -> State | None:
    """The state of a `STATE_LOG`; None if its quaternion is none."""
    position = 1e-3 * np.array([log[f"stateEstimateZ.{axis}"] for axis in "xyz"])
    velocity = 1e-3 * np.array([log[f"stateEstimateZ.v{axis}"] for axis in "xyz"])
    q = np.array([log[f"stateEstimate.q{part}"] for part in "wxyz"], dtype=np.float64)
    roll, pitch, yaw = (1e-3 * log[f"stateEstimateZ.rate{name}"] for name in ("Roll", "Pitch", "Yaw"))
    if not 0.9 < float(np.linalg.norm(q)) < 1.1:
        return None
    pose = np.concatenate([position, rotation.normalise(q)])
    return State(pose, np.array([*velocity, roll, -pitch, yaw]))


def inertial_of(log: Mapping[str, float]) -> Inertial:
    """The IMU's measurement of an `INERTIAL_LOG`."""
    force = GRAVITY_M_S2 * np.array([log[f"acc.{axis}"] for axis in "xyz"])
    rates = pi / 180.0 * np.array([log[f"gyro.{axis}"] for axis in "xyz"])
    return Inertial(force, rates)


def vehicle_of(info: int, ours: bool, ours_is: str = "rates") -> Vehicle:
    """The report of a supervisor. ours: whether our setpoints are followed. ours_is: their form."""
    bits = Supervisor(info & 0xFF)
    failed = bits & _FAILED
    mode = ours_is if ours else "its own setpoints"
    if failed:
        mode = " and ".join(bit.name.lower() for bit in Supervisor if bit in failed and bit.name)
    return Vehicle(Supervisor.ARMED in bits, ours, mode, bool(failed))


class Ticks:
    """Times [ns] of the 24-bit millisecond stamps of logs, which begin anew every 4.7 hours."""

    def __init__(self) -> None:
        self._last: int | None = None

    def ns(self, tick_ms: int) -> int:
        """The time of a stamp; stamps of different blocks may be slightly out of order."""
        last = tick_ms if self._last is None else self._last
        half = _TICKS // 2
        now = last + (tick_ms - last + half) % _TICKS - half
        self._last = max(last, now)
        return now * 1_000_000
