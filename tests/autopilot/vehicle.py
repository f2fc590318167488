# SPDX-License-Identifier: Apache-2.0
"""A stand-in autopilot that flies our MuJoCo plant: rate loop, own hold and landing, modes, arming and failsafes.

It is NOT PX4. It follows the rules of PX4's documentation (flight_modes/offboard.md, v1.15) that a bridge depends on:

* offboard is accepted only while setpoints arrive at 2 Hz or more, and after they have for a second;
* offboard ends when they stay away for `COM_OF_LOSS_T` (1 s): failsafe, the vehicle holds its place by itself;
* a pilot may take over at any time; arming is refused in offboard mode without a stream.

The rate loop is a PID controller on torque; attitudes go through PX4's attitude loop (attitude_loop.py). Thrust passes
through a curve that the bridge is not told: normalised thrust to rotor speed, Ω = idle + s (most - idle), so that force
∝ Ω², times the battery of the plant's task.

Everything is in our frames (ENU, FLU); a protocol's stand-in converts with its own formulas, not with the bridge's.
Time is the autopilot's own: it begins at `BOOT_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.attitude import tilt_and_yaw_error
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from tests.autopilot.attitude_loop import attitude_rates

Array = NDArray[np.float64]

STEP_S = 0.005
"""Period of the rate loop and of measurements."""
BOOT_S = 123.456
OFFBOARD_LOSS_S, LEAST_RATE_HZ, STREAM_S = 1.0, 2.0, 1.0
HOLD, OFFBOARD, LAND, POSITION = "AUTO.LOITER", "OFFBOARD", "AUTO.LAND", "POSCTL"
RATE_P, RATE_I, RATE_D = np.array([18.0, 18.0, 8.0]), np.array([15.0, 15.0, 4.0]), np.array([0.1, 0.1, 0.0])
ATTITUDE_P = np.array([6.0, 6.0, 2.5])
HOLD_I, TRIM_M_S2 = 2.0, np.array([3.0, 3.0, 6.0])
"""Of the own hold: gain of its integral [1/s], which carries payload and wind, and its bounds."""
ON_GROUND_M = 0.065


@dataclass
class Setpoint:
    """Body rates (3,) [rad/s; FLU] and normalised thrust. attitude: wxyz (4,) [FLU→ENU], instead of the rates."""

    rates: Array = field(default_factory=lambda: np.zeros(3))
    thrust: float = 0.0
    attitude: Array | None = None


class Vehicle:
    """See the module's docstring. mode, armed, failsafe: as PX4 reports them; log: what happened."""

    def __init__(self, robot: str = "x500", task: QuadrotorTask | None = None, q: Array | None = None) -> None:
        self.robot = load_robot(robot, check_model=False)
        task = replace(task or QuadrotorTask(), crash_tilt_deg=180.0)
        self.plant = QuadrotorPlant(self.robot, task, seed=1)
        self.state = self.plant.reset(q)
        self.mode, self.armed, self.failsafe = HOLD, self.flying, False
        self.time_s = 0.0
        self.log: list[str] = []
        self.setpoint, self.thrust, self.battery = Setpoint(), 0.0, task.battery
        self.received_s: list[float] = []  # of proofs of life, all of them
        self._stream_since_s, self._heard_s = inf, -inf
        self._place = self.state.q.copy()
        self._integral, self._last_rate, self._trim = np.zeros(3), np.zeros(3), np.zeros(3)

    # Time and measurements.

    @property
    def boot_ns(self) -> int:
        return round((BOOT_S + self.time_s) * 1e9)

    @property
    def flying(self) -> bool:
        return bool(self.state.q[2] > ON_GROUND_M + 0.03)

    # Commands, as the protocol's stand-in hands them over.

    def offer(self, rates: Array, thrust: float) -> None:
        """A setpoint arrived, which is a proof of life, too."""
        self.prove()
        self.accept(rates, thrust)

    def accept(self, rates: Array, thrust: float) -> None:
        """A setpoint arrived that proves nothing."""
        self.setpoint = Setpoint(np.array(rates, float), float(thrust))

    def offer_attitude(self, q: Array, thrust: float) -> None:
        """A setpoint of an attitude arrived, which is a proof of life, too."""
        self.prove()
        self.accept_attitude(q, thrust)

    def accept_attitude(self, q: Array, thrust: float) -> None:
        """A setpoint of an attitude arrived that proves nothing."""
        self.setpoint = Setpoint(thrust=float(thrust), attitude=np.array(q, float))

    def prove(self) -> None:
        """A proof of life arrived."""
        if self.time_s - self._heard_s > 1.0 / LEAST_RATE_HZ:
            self._stream_since_s = self.time_s
        self._heard_s = self.time_s
        self.received_s.append(self.time_s)

    def proof_of_life(self) -> bool:
        return self.time_s - self._heard_s <= 1.0 / LEAST_RATE_HZ

    def request_mode(self, mode: str) -> bool:
        """Whether the mode was accepted."""
        streamed = self.proof_of_life() and self.time_s - self._stream_since_s > STREAM_S
        if mode == OFFBOARD and not streamed:
            self.log.append("offboard refused: no stream")
            return False
        self._change(mode, failsafe=False)
        return True

    def request_arm(self, arm: bool) -> bool:
        if arm and self.mode == OFFBOARD and not self.proof_of_life():
            self.log.append("arming refused: no stream")
            return False
        self.armed = arm
        self.log.append("armed" if arm else "disarmed")
        return True

    def pilot(self, mode: str) -> None:
        """The pilot moves the mode switch."""
        self._change(mode, failsafe=False)

    def _change(self, mode: str, failsafe: bool) -> None:
        if (mode, failsafe) != (self.mode, self.failsafe):
            self.log.append(f"{mode}{' by failsafe' if failsafe else ''}")
        self.mode, self.failsafe = mode, failsafe
        self._place = self.state.q.copy()

    def set_battery(self, battery: float) -> None:
        """The voltage sags or recovers."""
        self.battery = battery
        self.plant.set_task(replace(self.plant.task, battery=battery))

    # Flight.

    def advance(self) -> None:
        """One period of the rate loop."""
        if self.mode == OFFBOARD and self.armed and self.time_s - self._heard_s > OFFBOARD_LOSS_S:
            self._change(HOLD, failsafe=True)
        if not self.armed:
            thrusts = self.robot.effort_lower.copy()
            self._integral[:] = 0.0
            self.thrust = 0.0
        else:
            if self.mode == OFFBOARD:
                wanted = self.setpoint.attitude
                rates = self.setpoint.rates if wanted is None else attitude_rates(self.state.q[3:], wanted)
                self.thrust = min(max(self.setpoint.thrust, 0.0), 1.0)
            else:
                rates, self.thrust = self._own_setpoint()
            thrusts = self.robot.thrusts(self.force_n(self.thrust), self._torque(rates))
        self.state = self.plant.step(thrusts, STEP_S)
        self.time_s += STEP_S
        if self.mode == LAND and not self.flying:
            self.armed = False

    def force_n(self, thrust: float) -> float:
        """The curve: collective thrust at a normalised thrust with a full battery."""
        idle, most = self.robot.description.rotor_speed_rad_s
        return float(4.0 * self.robot.thrust_coefficient * (idle + thrust * (most - idle)) ** 2)

    def thrust_of(self, force_n: float) -> float:
        idle, most = self.robot.description.rotor_speed_rad_s
        speed = np.sqrt(max(force_n, 0.0) / (4.0 * self.robot.thrust_coefficient))
        return float(np.clip((speed - idle) / (most - idle), 0.0, 1.0))

    def _torque(self, wanted: Array) -> Array:
        rate, inertia = self.state.v[3:], self.robot.inertia
        error = wanted - rate
        self._integral = np.clip(self._integral + RATE_I * error * STEP_S, -5.0, 5.0)
        change, self._last_rate = (rate - self._last_rate) / STEP_S, rate.copy()
        return np.asarray(inertia @ (RATE_P * error + self._integral - RATE_D * change))

    def _own_setpoint(self) -> tuple[Array, float]:
        """Hold the place, or sink."""
        q, v = self.state.q, self.state.v
        error = self._place[:3] - q[:3]
        speed = 1.0 * error
        if self.mode == LAND:
            speed[2] = -0.5
        lean = 2.5 * (speed - v[:3])
        self._trim = np.clip(self._trim + HOLD_I * lean * STEP_S, -TRIM_M_S2, TRIM_M_S2)
        lean[:2] = np.clip(lean[:2], -3.0, 3.0)
        wanted = np.array([0.0, 0.0, 9.81]) + lean + self._trim
        target = _attitude(wanted, float(rotation.yaw(self._place[3:])))
        lift = float(wanted @ rotation.up(q[3:]))
        thrust = self.thrust_of(self.robot.mass_kg * lift / self.battery)
        return ATTITUDE_P * tilt_and_yaw_error(q[3:], target), thrust


def _attitude(up: Array, yaw: float) -> Array:
    """Quaternion with body z along `up` and this heading."""
    z = up / np.linalg.norm(up)
    y = np.cross(z, [np.cos(yaw), np.sin(yaw), 0.0])
    y /= np.linalg.norm(y)
    return rotation.from_matrix(np.stack([np.cross(y, z), y, z], axis=1))
