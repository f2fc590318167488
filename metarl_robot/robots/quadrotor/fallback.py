# SPDX-License-Identifier: Apache-2.0
"""Fallback law of a quadrotor, an emergency landing: level, descend at a bounded rate, stop the motors on the ground.

Attitude, for a wanted direction n of body z (reduced attitude: heading is free, the yaw rate is only damped):

    ω_r = k_p e,  e the rotation vector from body z to n, in the body;     M = J k_ω (ω_r − ω) + ω × J ω + M_ff

With a loop delay T (motors, one period, `LATENCY_S`), k_ω = 1 / (2 T) and k_p = k_ω / 4: damped for any quadrotor.

Height, for the vertical speed w and the wanted −w_r:

    F n_z = F_ff + m (a − d),     a = k_w (−w_r − w), bounded
    dŵ/dt = a + 2 k_d (w − ŵ),    dd/dt = k_d² (w − ŵ), bounded

F_ff (vertical force, less m dw/dt) and M_ff are the low-passed commands before the stop. They compensate a payload,
weak rotors and a weak battery, which the description does not contain. After the loss of a payload F_ff is too large: d
is the acceleration that it gives too much, by a second-order observer (Luenberger). An integral of −w_r − w that stops
while a is at its bound would never act then: the quadrotor would climb until its motors stop. n leans against the
horizontal velocity, by at most `brake_tilt_rad`. From upside down, upright_recovery.py acts first.

Sources of the state:

    states     position and velocity as measured
    IMU alone  attitude from the IMU, or else integrated from its gyro since the last state; n is vertical;
               w is integrated and decays towards −w_r with `FORGET_S`, because the accelerometer's error
               would grow without bound
    nothing    F_ff and M_ff, constant

Landing is detected when the quadrotor does not sink although its thrust is down to `LANDED_SHARE` of F_ff. Without
states it is detected when the accelerometer measures more than the rotors carry. The motors stop (0 N, below the idle
thrust that is otherwise the minimum) after a landing, after a time limit, or when the quadrotor lies tipped over. They
stay stopped until commands pass again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.core import rotation
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, MotorModel, Quadrotor
from metarl_robot.robots.quadrotor.motor_lead import MotorLead, pace
from metarl_robot.robots.quadrotor.upright_recovery import UprightRecovery, Wrench, thrust_for_lift, turn_to
from metarl_robot.safety.fallback_law import Danger, GateConfig, low_pass

Array = NDArray[np.float64]

LATENCY_S = 0.015  # sensors and transport, besides the motors
TURN_RATE_RAD_S = 4.0  # greatest turning rate towards the wanted direction
YAW_SHARE = 0.3  # of k_ω: yaw has only the weak drag torque
SPEED_SHARE = 1.0 / 3.0  # of k_p: lean against horizontal velocity
SINK_GAIN_HZ = 2.5  # k_w
EXCESS_HZ = 2.0  # k_d
ACCELERATION_M_S2 = (-2.0, 3.0)  # bounds of a
EXCESS_M_S2 = (-0.4 * GRAVITY_M_S2, 0.6 * GRAVITY_M_S2)  # bounds of d
LIFT_SHARE = (0.5, 2.0)  # of the nominal weight: bounds of F_ff
TORQUE_SHARE = 0.2  # of the hover torque of the rotors on one side: bound of M_ff
FORGET_S = 2.0
LANDED_SHARE = 0.6
SUPPORT_SHARE = 0.2  # of the weight: measured force beyond the rotors' thrust
SINKING_SHARE = 0.4  # of the wanted speed: slower does not count as sinking
CAPSIZED_RAD = 1.3
CAPSIZED_S = 1.5
_UP = np.array([0.0, 0.0, 1.0])
_GRAVITY = np.array([0.0, 0.0, -GRAVITY_M_S2])


class DescendConfig(GateConfig):
    """Settings of a quadrotor's gate.

    Their ranges exclude a crash: motors that stop in the air, or too hard a landing.
    """

    auto_resume_s: float = Field(
        1.0,
        ge=0.0,
        le=60.0,
        description="time after the first of a series of stops in which commands may pass again; 0: never [s]",
    )
    feed_forward_time_s: float = Field(
        0.5, ge=0.001, le=10.0, description="time constant of the low pass of hover thrust and torque [s]"
    )
    saturation_share: float = Field(
        0.78,
        ge=0.1,
        le=1.0,
        description="share of the effort range that counts as saturated; controllers keep a tenth for the attitude",
    )
    descent_speed_m_s: float = Field(0.7, ge=0.1, le=1.2, description="descent speed [m/s]")
    brake_tilt_rad: float = Field(0.25, ge=0.0, le=0.8, description="greatest tilt to brake horizontal motion [rad]")
    descent_time_s: float = Field(
        60.0, ge=10.0, le=600.0, description="time after which the motors stop, landed or not [s]"
    )
    inertial_time_s: float = Field(
        8.0, ge=1.0, le=60.0, description="time with the IMU alone after which the motors stop [s]"
    )
    blind_time_s: float = Field(
        0.5, ge=0.1, le=10.0, description="time without state and IMU after which the motors stop [s]"
    )
    landed_time_s: float = Field(0.3, ge=0.05, le=5.0, description="time that the landing conditions must hold [s]")
    danger_tilt_rad: float = Field(
        1.5, ge=0.2, le=3.1, description="tilt beyond which the gate stops and latches [rad]"
    )


class EmergencyLanding:
    """Fallback law of a quadrotor's gate (GateLaw); see the module's docstring."""

    config = DescendConfig

    def __init__(self, robot: Quadrotor, config: DescendConfig) -> None:
        self._robot = robot
        delay_s = max(robot.motor_time_s) + robot.control_period_s + LATENCY_S
        self._rate_gain = np.array([1.0, 1.0, YAW_SHARE]) / (2.0 * delay_s)
        self._turn_gain = self._rate_gain[0] / 4.0
        quick = pace(robot, LATENCY_S)
        self._recovery, self._lead = UprightRecovery(robot, quick.lag_s), MotorLead(robot, quick.speed_up)
        self._motors = MotorModel(robot, robot.hover_thrust)
        self._weight = robot.mass_kg * GRAVITY_M_S2
        self._most_torque = TORQUE_SHARE * np.abs(robot.allocation[1:]) @ robot.hover_thrust
        self._lift, self._torque = self._weight, np.zeros(3)
        self._attitude, self._velocity = rotation.IDENTITY, np.zeros(3)
        self._stopped = False
        self._mean_speed: float | None = None
        self.configure(config)
        self.release()

    def configure(self, config: DescendConfig) -> None:
        self._config = config

    @property
    def start_effort(self) -> Array | None:
        return None

    @property
    def off(self) -> bool:
        return self._stopped

    @property
    def static_effort(self) -> Array:
        return self._robot.thrusts(self._feed_forward, self._torque)

    @property
    def _feed_forward(self) -> float:
        """F_ff [N], clipped to the range of a worn-out to a loaded quadrotor."""
        lift = self._lift - self._robot.mass_kg * self._rise
        return float(np.clip(lift, LIFT_SHARE[0] * self._weight, LIFT_SHARE[1] * self._weight))

    def passed(self, effort: Array, state: State | None, dt_s: float) -> None:
        share = low_pass(dt_s, self._config.feed_forward_time_s)
        collective, *asked = self._robot.allocation @ effort
        upright = 1.0 if state is None else float(rotation.up(state.q[3:])[2])
        self._lift += share * (collective * upright - self._lift)
        torque = self._torque + share * (np.array(asked) - self._torque)
        self._torque = np.clip(torque, -self._most_torque, self._most_torque)
        self._followed(effort, dt_s)
        if state is not None:
            self._attitude, self._velocity = state.q[3:], state.v[:3]
            self._note_rise(float(state.v[2]), share)

    def _note_rise(self, speed: float, share: float) -> None:
        """Low-pass dw/dt as F is, without differentiating w."""
        mean = speed if self._mean_speed is None else self._mean_speed
        self._mean_speed = mean + share * (speed - mean)
        self._rise = (speed - self._mean_speed) / self._config.feed_forward_time_s

    def begin(self, state: State) -> None:
        self._inertial_s = self._blind_s = 0.0

    def release(self) -> None:
        self._stopped = False
        self._recovery.reset()
        self._rise = self._excess = 0.0
        self._mean_speed = None
        self._forget_speed()
        self._collective = self._feed_forward
        self._total_s = self._inertial_s = self._blind_s = self._still_s = self._capsized_s = 0.0

    def effort(self, state: State, dt_s: float) -> Array:
        self._attitude, self._velocity = state.q[3:], state.v[:3]
        lean = -SPEED_SHARE * self._turn_gain * state.v[:2]
        most = GRAVITY_M_S2 * np.tan(self._config.brake_tilt_rad)
        lean = lean * min(1.0, most / max(float(np.linalg.norm(lean)), 1e-9))
        sinking = state.v[2] < -SINKING_SHARE * self._config.descent_speed_m_s
        self._watch(not sinking and self._collective <= LANDED_SHARE * self._feed_forward, dt_s)
        return self._thrusts(np.array([*lean, GRAVITY_M_S2]), state.v[3:], dt_s)

    def blind_effort(self, inertial: Inertial | None, dt_s: float) -> Array:
        if inertial is None:
            self._blind_s += dt_s
            self._watch(False, dt_s)
            return self.static_effort
        self._inertial_s += dt_s
        turned = rotation.integrate(self._attitude, inertial.rate, dt_s)
        self._attitude = turned if inertial.attitude is None else rotation.normalise(inertial.attitude)
        force = rotation.rotate(self._attitude, inertial.specific_force)
        velocity = self._velocity + (force + _GRAVITY) * dt_s
        velocity[2] -= (velocity[2] + self._config.descent_speed_m_s) * min(dt_s / FORGET_S, 1.0)
        self._velocity = velocity
        carried = self._collective * float(rotation.up(self._attitude)[2]) / self._feed_forward
        self._watch(float(force[2]) / GRAVITY_M_S2 - carried > SUPPORT_SHARE and carried < 1.0, dt_s)
        return self._thrusts(_UP, inertial.rate, dt_s)

    def at_rest(self, state: State) -> bool:
        return self._stopped

    def danger(self, state: State) -> Danger | None:
        tilt = float(rotation.tilt(state.q[3:]))
        if tilt > self._config.danger_tilt_rad:
            return Danger(
                "tilt", f"tilted by {np.degrees(tilt):.0f}° (allowed {np.degrees(self._config.danger_tilt_rad):.0f}°)"
            )
        limit, ratio = self._robot.velocity_limit, self._config.overspeed_ratio
        excess = np.abs(state.v) / limit
        axis = int(np.argmax(excess))
        if excess[axis] <= ratio:
            return None
        what, unit = ("moves", "m/s") if axis < 3 else ("turns", "rad/s")
        return Danger(
            "overspeed",
            f"{what} at {state.v[axis]:.2f} {unit} along {'xyz'[axis % 3]} (limit {limit[axis]:.2f} {unit})",
        )

    def _followed(self, effort: Array, dt_s: float) -> Array:
        """The same effort (n,), which the motor model follows."""
        if dt_s > 0.0:
            self._motors.advance(effort, dt_s)
        return effort

    def _recovered(self, rate: Array) -> Wrench | None:
        """Thrust and torque of the recovery from upside down, while it acts."""
        state = State(np.concatenate([np.zeros(3), self._attitude]), np.concatenate([self._velocity, rate]))
        sinking = np.array([0.0, 0.0, -self._config.descent_speed_m_s])
        return self._recovery.wrench(self._total_s, state, sinking, self._feed_forward / GRAVITY_M_S2)

    def _watch(self, landed: bool, dt_s: float) -> None:
        """Update the timers; stop the motors when one expires."""
        config = self._config
        capsized = float(rotation.tilt(self._attitude)) > CAPSIZED_RAD
        self._total_s += dt_s
        self._still_s = self._still_s + dt_s if landed else 0.0
        self._capsized_s = self._capsized_s + dt_s if capsized else 0.0
        late = (
            self._total_s > config.descent_time_s
            or self._inertial_s > config.inertial_time_s
            or self._blind_s > config.blind_time_s
        )
        self._stopped = self._stopped or late or self._still_s > config.landed_time_s or self._capsized_s > CAPSIZED_S

    def _forget_speed(self) -> None:
        """Restart the observer of the vertical speed; its estimate d stays."""
        self._expected: float | None = None
        self._asked = 0.0

    def _acceleration(self, speed: float, dt_s: float) -> float:
        """Vertical acceleration to ask for beyond F_ff [m/s²] at a vertical speed [m/s]: a − d."""
        missed = 0.0 if self._expected is None else speed - self._expected
        self._expected = speed - missed + dt_s * (self._asked + 2.0 * EXCESS_HZ * missed)
        self._excess = float(np.clip(self._excess + dt_s * EXCESS_HZ**2 * missed, *EXCESS_M_S2))
        self._asked = float(np.clip(SINK_GAIN_HZ * (-self._config.descent_speed_m_s - speed), *ACCELERATION_M_S2))
        return self._asked - self._excess

    def _thrusts(self, direction: Array, rate: Array, dt_s: float) -> Array:
        """Thrusts (n,) for a wanted direction of body z (3,) [world] and the sink rate; rate: (3,) [rad/s; body]."""
        recovery = self._recovered(rate)
        if recovery is not None:
            self._collective = recovery.collective
            self._forget_speed()
            return self._followed(self._lead.command(self._robot.thrusts(*recovery), self._motors.speeds), dt_s)
        lift = max(self._feed_forward + self._robot.mass_kg * self._acceleration(float(self._velocity[2]), dt_s), 0.0)
        self._collective = lift * thrust_for_lift(float(rotation.up(self._attitude)[2]))
        turning = np.append(self._turn_gain * turn_to(self._attitude, direction)[:2], 0.0)
        turning = turning * min(1.0, TURN_RATE_RAD_S / max(float(np.linalg.norm(turning)), 1e-9))
        inertia = self._robot.inertia
        torque = inertia @ (self._rate_gain * (turning - rate)) + rotation.cross(rate, inertia @ rate) + self._torque
        return self._followed(self._robot.thrusts(self._collective, torque), dt_s)
