# SPDX-License-Identifier: Apache-2.0
"""The part of an autopilot bridge that is the same for every protocol: measurements and efforts in, setpoints out.

All quantities are in our frames and units; a transport converts them (frames.py). Times: stamps of our clock [ns], and
a monotonic clock [s].
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Inertial, State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.quadrotor.autopilot.attitude_setpoint import AttitudeGains, attitude_setpoint
from metarl_robot.robots.quadrotor.autopilot.measured_thrusts import MeasuredThrusts
from metarl_robot.robots.quadrotor.autopilot.motion import motion_ahead
from metarl_robot.robots.quadrotor.autopilot.offboard import Offboard, Phase, Vehicle
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint, rate_loop_s, rate_setpoint
from metarl_robot.robots.quadrotor.autopilot.thrust_curve import ThrustCurve
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

REPORTED_S = 0.5
"""The autopilot's own thrust is used for this long."""


class Settings(NamedTuple):
    """Settings of a commander.

    hover_thrust: start value of the thrust curve; 0: from the robot's limits. rate_loop_s: time constant of the
    autopilot's rate loop; 0: from the motors' [s]. deadline_s: a command for an older state is stale [s]. auto_arm:
    take control and arm at the start. lead_s: for an autopilot that takes full states (motion.py), the time from
    sending a setpoint to the middle of its effect [s]; the thrust is then the share F / F_max of the nominal robot.
    attitude_gains: of an autopilot that takes attitudes (attitude_setpoint.py).
    """

    hover_thrust: float = 0.0
    rate_loop_s: float = 0.0
    deadline_s: float = 0.1
    auto_arm: bool = False
    lead_s: float | None = None
    attitude_gains: AttitudeGains | None = None


class Commander:
    """See the module's docstring.

    Attributes:
        offboard: who commands.
        curve: the learned thrust curve.
        flying: whether the autopilot reports that it has left the ground.
    """

    def __init__(self, robot: Quadrotor, settings: Settings) -> None:
        self._robot, self._settings = robot, settings
        self._loop_s = settings.rate_loop_s or rate_loop_s(robot)
        self.offboard = Offboard(settings.auto_arm)
        self._full_m_s2 = robot.collective(robot.effort_limit) / robot.mass_kg
        hover = GRAVITY_M_S2 / self._full_m_s2 if settings.lead_s is not None else settings.hover_thrust
        self.curve = ThrustCurve(robot, hover or None)
        self.flying = False
        self._state: State | None = None
        self._rate: Array | None = None
        self._state_ns = self._answered_ns = -1
        self._imu_ns = -1
        self._reported = (-inf, 0.0)  # time [s] and thrust
        self._thrust, self._sent = 0.0, robot.hover_thrust
        self._measured = MeasuredThrusts(robot)

    def report(self, now_s: float, vehicle: Vehicle) -> None:
        """Take the autopilot's report of its mode."""
        self.offboard.report(now_s, vehicle)

    def state(self, stamp_ns: int, state: State) -> None:
        """Take a measured state."""
        self._state_ns, self._state = stamp_ns, state

    def inertial(self, now_s: float, stamp_ns: int, inertial: Inertial) -> None:
        """Take an IMU measurement: body rates, and what the thrust does."""
        dt_s = (stamp_ns - self._imu_ns) / NANOSECONDS
        known, self._imu_ns, self._rate = self._imu_ns >= 0, stamp_ns, inertial.rate
        thrust = self._followed(now_s)
        if known and dt_s > 0.0:
            self._measured.observe(inertial, dt_s)
        if thrust is None or not known or dt_s <= 0.0:
            self.curve.pause()
        else:
            self.curve.observe(thrust, float(inertial.specific_force[2]), dt_s, self.flying)

    def reported_thrust(self, now_s: float, thrust: float) -> None:
        """Take the normalised thrust that the autopilot commands in any mode: the curve is learned before we fly."""
        self._reported = now_s, thrust

    def setpoint(self, now_s: float, clock_ns: int, stamp_ns: int, thrusts: Array) -> RateSetpoint | None:
        """The setpoint for thrusts (4,) [N] that answer the state with a stamp; None: nothing is to be sent.

        A command is fresh if it answers a newer state than the last one did, and a state not older than the deadline.
        clock_ns: our clock's present time.
        """
        fresh = stamp_ns > self._answered_ns and clock_ns - stamp_ns <= self._settings.deadline_s * NANOSECONDS
        if self._state is None or not fresh or not self._has_states(clock_ns):
            return None
        self._answered_ns = stamp_ns
        if not self.offboard.command(now_s):
            return None
        setpoint = rate_setpoint(self._robot, self.curve, self._newest(), thrusts, self._loop_s)
        self._thrust, self._sent = setpoint.thrust, thrusts
        age_s = max(clock_ns - self._state_ns, 0) / NANOSECONDS
        if self._settings.lead_s is not None:
            return self._with_motion(setpoint, age_s + self._settings.lead_s)
        gains = self._settings.attitude_gains
        return setpoint if gains is None else self._with_attitude(setpoint, gains, age_s)

    def _with_attitude(self, setpoint: RateSetpoint, gains: AttitudeGains, age_s: float) -> RateSetpoint:
        """The setpoint with the attitude that makes the autopilot command its rates."""
        state = self._newest()
        attitude = attitude_setpoint(state.q[3:], state.v[3:], setpoint.rates, gains, age_s)
        return setpoint._replace(attitude=attitude)

    def _with_motion(self, setpoint: RateSetpoint, lead_s: float) -> RateSetpoint:
        """The setpoint with the motion to which it leads from the newest state."""
        force_m_s2 = setpoint.thrust * self._full_m_s2
        return setpoint._replace(motion=motion_ahead(self._newest(), force_m_s2, setpoint.rates, lead_s, self._loop_s))

    def acting(self) -> Array:
        """Thrusts (n,) [N] that acted since the last call, for an adapter.

        While the autopilot follows setpoints: those of the last one, with the collective thrust of the present curve.
        Otherwise it flies by itself: see measured_thrusts.py.
        """
        measured = self._measured.take()
        if self.offboard.phase is not Phase.ENGAGED:
            return measured
        robot = self._robot
        missing_n = self.curve.collective_n(self._thrust) - robot.collective(self._sent)
        (missing,) = robot.unlimited_thrusts(np.array([[missing_n, 0.0, 0.0, 0.0]]))
        return np.clip(self._sent + missing, robot.effort_lower, robot.effort_limit)

    def _has_states(self, clock_ns: int) -> bool:
        return clock_ns - self._state_ns <= self._settings.deadline_s * NANOSECONDS

    def _newest(self) -> State:
        """The newest state, with the IMU's rates."""
        assert self._state is not None
        if self._rate is None:
            return self._state
        return State(self._state.q, np.concatenate([self._state.v[:3], self._rate]))

    def _followed(self, now_s: float) -> float | None:
        """The normalised thrust that the autopilot follows; None if it is unknown."""
        if self.offboard.phase is Phase.ENGAGED:
            return self._thrust
        since_s, thrust = self._reported
        return thrust if now_s - since_s <= REPORTED_S else None
