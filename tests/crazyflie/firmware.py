# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the Crazyflie's firmware that flies our MuJoCo plant. It is NOT the firmware.

It follows the rules of the firmware's source (2025) that a bridge depends on:

* setpoints have priorities; the low-level commander's beat those of the high-level commander until it says that they
  end; the thrust lock opens with a setpoint of thrust 0 (commander.c, crtp_commander_rpyt.c);
* setpoints older than 0.5 s are levelled out, older than 2 s stop the motors for good, as do a tumble and disarming in
  flight (supervisor.c, supervisor_state_machine.c);
* roll and pitch in rate or angle mode; the yaw rate moves a yaw angle; cascaded PID with the default gains at 500 Hz,
  legacy signs, legacy mixing of four motors (controller_pid.c, attitude_pid_controller.c, platform_defaults_cf2.h,
  power_distribution_quadrotor.c);
* full states: with the controller by PID position and heading, with that after Mellinger all of them (mellinger.py);
* the high-level commander lands along a smooth height (planner.c), by position and velocity PID at 100 Hz.

Motor units u of 65535 give the force F_max (0.775 s + 0.225 s²), s = u / 65535: the shape of Bitcraze's measured curve
(0.1405 PWM + 0.000409 PWM² [g], PWM in per cent), times the battery of the plant's task. The bridge is told none of it.

Angles are in degrees, as in the firmware. Time is its own and begins at `BOOT_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from tests.autopilot.vehicle import BOOT_S, STEP_S
from tests.crazyflie.mellinger import MASS_KG, MASS_THRUST, Mellinger

Array = NDArray[np.float64]

TICK_S, ATTITUDE_TICKS, POSITION_TICKS = 0.001, 2, 10
ATTITUDE_S, POSITION_S = TICK_S * ATTITUDE_TICKS, TICK_S * POSITION_TICKS
DISABLED, LOWEST, HIGH_LEVEL, LOW_LEVEL = 0, 1, 1, 2
LEVEL_MS, SHUTDOWN_MS, FLYING_MS = 500, 2000, 2000
LEAST_PWM, MOST_PWM, FULL = 1000, 60000, 65535
TUMBLE_G, TUMBLE_MS = 0.5, 1000
HOVER_PWM, LEAST_OWN_PWM = 36000.0, 20000.0
MOTORS = (0, 3, 1, 2)
"""Rotor of the robot's description that is motor M1 (front right), M2 (rear right), M3 (rear left), M4 (front left)."""
RATE, ANGLE = 0, 1
MELLINGER = 2
"""Of the parameter stabilizer.controller."""
GROUND = np.array([0.0, 0.0, 0.015, 1.0, 0.0, 0.0, 0.0])


class Pid:
    """pid.c: proportional, integral with a limit, derivative of the error."""

    def __init__(self, kp: float, ki: float, kd: float, limit: float, dt_s: float) -> None:
        self._gains, self._limit, self._dt_s = (kp, ki, kd), limit, dt_s
        self.reset()

    def reset(self) -> None:
        self._integral, self._last = 0.0, None

    def update(self, error: float) -> float:
        kp, ki, kd = self._gains
        change = 0.0 if self._last is None else (error - self._last) / self._dt_s
        self._last: float | None = error
        self._integral = float(np.clip(self._integral + error * self._dt_s, -self._limit, self._limit))
        return kp * error + ki * self._integral + kd * change


@dataclass
class Setpoint:
    """As the firmware decodes it. rates: roll, pitch (legacy), yaw [deg/s]; angles: roll, pitch [deg]; position [m].

    motion: of a full state: position, velocity, acceleration (3, 3) [m, m/s, m/s²; world]; q: its wxyz; of a full state
    the rates are of the body (FLU).
    """

    thrust: float = 0.0
    rates: Array = field(default_factory=lambda: np.zeros(3))
    angles: Array = field(default_factory=lambda: np.zeros(2))
    modes: tuple[float, float] = (ANGLE, ANGLE)
    position: Array | None = None
    motion: Array | None = None
    q: Array | None = None
    at_ms: int = -10_000


@dataclass
class Plan:
    """The high-level commander's: from a place up or down to a height, and hold it."""

    start: Array
    height_m: float
    begun_ms: int
    duration_s: float

    def done(self, now_ms: int) -> bool:
        return now_ms - self.begun_ms > 1000.0 * self.duration_s

    def position(self, now_ms: int) -> Array:
        s = float(np.clip((now_ms - self.begun_ms) / 1000.0 / self.duration_s, 0.0, 1.0))
        smooth = s**4 * (35.0 - 84.0 * s + 70.0 * s**2 - 20.0 * s**3)
        return np.array([*self.start[:2], self.start[2] + smooth * (self.height_m - self.start[2])])


class Firmware:
    """See the module's docstring.

    auto_arms: whether it arms itself, as without brushless motors. q: default: on the ground.

    Attributes:
        log: what happened. received_s: times of setpoints. poses: of motion capture, (position, xyzw).
        full_states: number of setpoints that were full states.
        parameters: by group.name.
    """

    def __init__(self, task: QuadrotorTask | None = None, q: Array | None = None, auto_arms: bool = True) -> None:
        self.robot = load_robot("crazyflie", check_model=False)
        task = replace(task or QuadrotorTask(), crash_tilt_deg=180.0)
        self.plant = QuadrotorPlant(self.robot, task, seed=1)
        self.state = self.plant.reset(GROUND if q is None else q)
        self.battery, self.time_s, self.auto_arms = task.battery, 0.0, auto_arms
        self.log: list[str] = []
        self.received_s: list[float] = []
        self.poses: list[tuple[Array, Array]] = []
        self.full_states = 0
        self.parameters: dict[str, float] = {
            "flightmode.stabModeRoll": ANGLE, "flightmode.stabModePitch": ANGLE, "flightmode.stabModeYaw": RATE,
            "stabilizer.estimator": 1, "stabilizer.controller": 1, "kalman.resetEstimation": 0,
            "commander.enHighLevel": 1, "ctrlMel.mass": MASS_KG, "ctrlMel.massThrust": MASS_THRUST,
        }  # fmt: skip
        self.setpoint, self.priority, self.locked_thrust = Setpoint(), DISABLED, True
        self.armed, self.supervisor = auto_arms, "ready" if auto_arms else "preflight"
        self.plan: Plan | None = None
        self.thrust = 0.0  # commanded, normalised by MOST_PWM
        self._ms, self._thrust_ms, self._tilt_ms = 0, -10_000, 0
        self._yaw_deg = self._actual_angles()[2]
        self._own_angles, self._own_thrust = np.zeros(2), 0.0
        roll = (250.0, 500.0, 2.5, 33.3, ATTITUDE_S)
        self._rate_pids = [Pid(*roll), Pid(*roll), Pid(120.0, 16.7, 0.0, 166.7, ATTITUDE_S)]
        tilt = (6.0, 3.0, 0.0, 20.0, ATTITUDE_S)
        self._angle_pids = [Pid(*tilt), Pid(*tilt), Pid(6.0, 1.0, 0.35, 360.0, ATTITUDE_S)]
        self._velocity_pids = [Pid(25.0, 1.0, 0.0, 20.0, POSITION_S) for _ in range(2)]
        self._velocity_pids.append(Pid(25.0, 15.0, 0.0, 2.0, POSITION_S))
        self._mellinger = Mellinger(ATTITUDE_S)

    # Seen by a bridge's stand-in and by tests.

    @property
    def boot_ns(self) -> int:
        return round((BOOT_S + self.time_s) * 1e9)

    @property
    def flying(self) -> bool:
        return self.supervisor in ("flying", "level out")

    @property
    def mode(self) -> str:
        return self.supervisor

    @property
    def failsafe(self) -> bool:
        return self.supervisor in ("level out", "locked")

    @property
    def info(self) -> int:
        """supervisor.info."""
        return (
            (self.supervisor == "preflight") << 0 | self.armed << 1 | self.auto_arms << 2
            | (self.supervisor != "locked" and self.armed) << 3 | self.flying << 4
            | (self.supervisor == "locked") << 6
        )  # fmt: skip

    def force_n(self, thrust: float) -> float:
        """Collective force at a thrust normalised by MOST_PWM, with a full battery."""
        s = thrust * MOST_PWM / FULL
        return float(self.robot.effort_limit.sum() * (0.775 + 0.225 * s) * s)

    def thrust_of(self, force_n: float) -> float:
        share = max(force_n, 0.0) / float(self.robot.effort_limit.sum())
        return float(2.0 * share / (0.775 + np.sqrt(0.775**2 + 0.9 * share))) * FULL / MOST_PWM

    # Packets, as the protocol's stand-in hands them over.

    def rpyt(self, roll: float, pitch: float, yaw: float, thrust: int) -> None:
        """crtpCommanderRpytDecodeSetpoint."""
        self.received_s.append(self.time_s)
        if self.priority == DISABLED:
            self.locked_thrust = True
        if thrust == 0:
            self.locked_thrust = False
        turning = thrust >= LEAST_PWM and not self.locked_thrust
        modes = (self.parameters["flightmode.stabModeRoll"], self.parameters["flightmode.stabModePitch"])
        self._accept(
            Setpoint(
                float(min(thrust, MOST_PWM)) if turning else 0.0,
                np.array([roll, pitch, yaw]),
                np.array([roll, pitch]),
                modes,
            )
        )

    def full_state(self, position: Array, velocity: Array, acceleration: Array, q: Array, rates: Array) -> None:
        """fullStateDecoder: q wxyz, rates [deg/s; FLU]."""
        self.received_s.append(self.time_s)
        self.full_states += 1
        motion = np.stack([position, velocity, acceleration])
        self._accept(Setpoint(position=position, motion=motion, q=q, rates=rates))

    def notify_stop(self) -> None:
        """commanderRelaxPriority."""
        self.priority = LOWEST
        self.log.append("low-level setpoints end")

    def take_off(self, height_m: float, duration_s: float) -> None:
        """As an app on board, or another client, tells the high-level commander."""
        self._plan("take-off", height_m, duration_s)

    def land(self, height_m: float, duration_s: float) -> None:
        self._plan("landing", height_m, duration_s)

    def _plan(self, name: str, height_m: float, duration_s: float) -> None:
        self.log.append(f"high-level {name}")
        self.plan = Plan(self.state.q[:3].copy(), height_m, self._ms, duration_s)

    def arm(self, arm: bool) -> bool:
        if arm and not self.armed and self.supervisor != "preflight":
            return False
        if arm != self.armed:
            self.log.append("armed" if arm else "disarmed")
        self.armed = arm
        return True

    # Commander and supervisor.

    def _accept(self, setpoint: Setpoint, priority: int = LOW_LEVEL) -> None:
        if priority >= self.priority:
            setpoint.at_ms = self._ms
            self.setpoint, self.priority = setpoint, priority
            if priority == LOW_LEVEL:
                self.plan = None

    def _guide(self) -> None:
        """The high-level commander's setpoint."""
        plan = self.plan
        if plan is None:
            return
        if plan.done(self._ms) and plan.height_m < plan.start[2]:
            self.plan = None
            self._accept(Setpoint(), HIGH_LEVEL)
        else:
            self._accept(Setpoint(position=plan.position(self._ms)), HIGH_LEVEL)

    def _supervise(self) -> None:
        assert self.state.specific_force is not None
        self._tilt_ms = self._tilt_ms + 1 if self.state.specific_force[2] < TUMBLE_G * 9.81 else 0
        age_ms = self._ms - self.setpoint.at_ms
        spinning = self._ms - self._thrust_ms < FLYING_MS
        before = self.supervisor
        if before in ("flying", "level out"):
            if age_ms > SHUTDOWN_MS or not self.armed or (spinning and self._tilt_ms > TUMBLE_MS):
                self.supervisor, self.armed = "locked", False
            elif not spinning:
                self.supervisor, self.armed = ("ready", True) if self.auto_arms else ("preflight", False)
            else:
                self.supervisor = "level out" if age_ms > LEVEL_MS else "flying"
        elif before == "preflight" and self.armed:
            self.supervisor = "ready"
        elif before == "ready":
            self.supervisor = "preflight" if not self.armed else "flying" if spinning else "ready"
        if self.supervisor != before:
            self.log.append(self.supervisor)

    # Flight.

    def advance(self) -> None:
        """The ticks of one step."""
        for _ in range(round(STEP_S / TICK_S)):
            self._tick()

    def _tick(self) -> None:
        self._supervise()
        if self._ms % POSITION_TICKS == 0:
            self._guide()
            if self.setpoint.position is not None:
                self._hold(self.setpoint.position)
        if self._ms % ATTITUDE_TICKS == 0:
            self._motors = self._stabilise()
        if self._motors.max() > 0.0:
            self._thrust_ms = self._ms
        share = self._motors / FULL
        thrusts = np.empty(4)
        thrusts[list(MOTORS)] = self.robot.effort_limit[0] * (0.775 + 0.225 * share) * share
        self.state = self.plant.step(np.maximum(thrusts, self.robot.effort_lower), TICK_S)
        self._ms += 1
        self.time_s = self._ms * TICK_S

    def _stabilise(self) -> Array:
        """Motor units (4,) of M1 to M4."""
        setpoint, level = self.setpoint, self.supervisor == "level out"
        own = setpoint.position is not None
        thrust = self._own_thrust if own else setpoint.thrust
        if self.supervisor not in ("ready", "flying", "level out") or thrust == 0.0:
            for pid in (*self._rate_pids, *self._angle_pids):
                pid.reset()
            self._mellinger.reset()
            self._yaw_deg, self.thrust = self._actual_angles()[2], 0.0
            return np.zeros(4)
        if setpoint.motion is not None and self.parameters["stabilizer.controller"] == MELLINGER:
            return self._by_mellinger(setpoint.motion, level)
        self._mellinger.reset()
        self.thrust = thrust / MOST_PWM
        if setpoint.q is not None and not level:
            self._yaw_deg = float(np.degrees(rotation.yaw(setpoint.q)))
        yaw_rate = 0.0 if own or level else setpoint.rates[2]
        self._yaw_deg = _wrapped(self._yaw_deg + yaw_rate * ATTITUDE_S)
        angles = np.zeros(2) if level else self._own_angles if own else setpoint.angles
        actual = self._actual_angles()
        errors = [*(angles - actual[:2]), _wrapped(self._yaw_deg - actual[2])]
        rates = [pid.update(float(error)) for pid, error in zip(self._angle_pids, errors, strict=True)]
        for axis, mode in enumerate(setpoint.modes):
            if mode == RATE and not (own or level):
                rates[axis] = float(setpoint.rates[axis])
        gyro = np.degrees(self.state.v[3:]) * np.array([1.0, -1.0, 1.0])
        roll, pitch, yaw = (
            float(np.clip(pid.update(float(wanted - real)), -32767.0, 32767.0))
            for pid, wanted, real in zip(self._rate_pids, rates, gyro, strict=True)
        )
        return _mixed(thrust, roll, pitch, -yaw)

    def _by_mellinger(self, motion: Array, level: bool) -> Array:
        """controller_mellinger.c. Motor units (4,)."""
        assert self.setpoint.q is not None
        yaw, rates = float(rotation.yaw(self.setpoint.q)), np.radians(self.setpoint.rates)
        thrust, torques = self._mellinger.update(self.state, motion, yaw, rates, level)
        self.thrust = float(np.clip(thrust, 0.0, FULL)) / MOST_PWM
        return np.zeros(4) if thrust <= 0.0 else _mixed(min(thrust, FULL), *torques)

    def _hold(self, position: Array) -> None:
        """position_controller_pid.c."""
        q, v = self.state.q, self.state.v
        speed = np.clip(2.0 * (position - q[:3]), -1.0, 1.0)
        yaw = np.radians(self._actual_angles()[2])
        error = speed - v[:3]
        ahead = np.cos(yaw) * error[0] + np.sin(yaw) * error[1]
        left = -np.sin(yaw) * error[0] + np.cos(yaw) * error[1]
        pitch = -self._velocity_pids[0].update(float(ahead))
        roll = -self._velocity_pids[1].update(float(left))
        self._own_angles = np.clip(np.array([roll, pitch]), -20.0, 20.0)
        rise = 1000.0 * self._velocity_pids[2].update(float(error[2]))
        self._own_thrust = float(np.clip(HOVER_PWM + rise, LEAST_OWN_PWM, FULL))

    def _actual_angles(self) -> Array:
        """Roll, pitch (legacy: nose up is positive), yaw [deg]."""
        r = rotation.to_matrix(self.state.q[3:])
        roll, pitch = np.arctan2(r[2, 1], r[2, 2]), -np.arcsin(np.clip(r[2, 0], -1.0, 1.0))
        return np.degrees(np.array([roll, -pitch, np.arctan2(r[1, 0], r[0, 0])]))


def _mixed(thrust: float, roll: float, pitch: float, yaw: float) -> Array:
    """powerDistributionLegacy: motor units (4,) of M1 to M4."""
    half_roll, half_pitch = roll / 2.0, pitch / 2.0
    mixed = thrust + np.array([
        -half_roll + half_pitch + yaw, -half_roll - half_pitch - yaw,
        half_roll - half_pitch + yaw, half_roll + half_pitch - yaw,
    ])  # fmt: skip
    return np.clip(mixed - max(float(mixed.max()) - FULL, 0.0), 0.0, FULL)


def _wrapped(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0
