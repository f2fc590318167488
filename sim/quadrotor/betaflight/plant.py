# SPDX-License-Identifier: Apache-2.0
"""A simulated quadrotor that Betaflight's firmware flies: its sensors go to the firmware, the motor outputs come back.

Physics and firmware advance in turn, PACKET_S each: the firmware sees the state at the beginning of an interval, and
its motor outputs act during it. The gyroscope and the accelerometer on the flight controller show the present state,
with the task's white noise; the state for a controller (motion capture, or an estimator) has the task's delay and
noise.
A motor output u turns a rotor at u Ω_max (thrust.py), with the plant's lag.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.betaflight.pilot import motor_order
from metarl_robot.robots.quadrotor.betaflight.thrust import MotorCurve
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.sim.quadrotor.betaflight.firmware import PACKET_S, Firmware
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]


class BetaflightPlant:
    """One quadrotor with its flight controller. It stands still at the start until `release`.

    Arguments:
        robot: a quad X whose motors turn as Betaflight assumes by default ('props in').
        firmware: running, for this plant alone.
        task: physical conditions. seed: of the sensor noise.
    """

    def __init__(
        self, robot: Quadrotor, firmware: Firmware, task: QuadrotorTask, seed: int | Sequence[int] = 0
    ) -> None:
        self.physics = QuadrotorPlant(robot, task, seed)
        self._firmware, self._rng = firmware, np.random.default_rng(seed)
        self._order, self._curve = motor_order(robot, props_out=False), MotorCurve(robot, idle=0.0)
        self._held = True
        self.outputs: Array = np.zeros(4)
        self.reset(robot.home, np.zeros(6))

    def reset(self, q: Array, v: Array) -> State:
        """Hold at a pose q (7,); `release` gives it the velocity v (6,). Returns the measurement."""
        self._start = (np.array(q), np.array(v))
        self._held = True
        return self.physics.reset(q, np.zeros(6))

    def release(self) -> State:
        """Let it fly from the start, with the rotors as in hover; the plant's time begins. Returns the measurement."""
        self._held = False
        return self.physics.reset(*self._start)

    @property
    def held(self) -> bool:
        """Whether it still stands at its start."""
        return self._held

    @property
    def thrusts(self) -> Array:
        """Thrusts (4,) [N] that the motor outputs ask for."""
        return self._curve.thrusts(self.outputs)

    @property
    def time_s(self) -> float:
        """Time of the firmware [s]; it goes on while the quadrotor is held."""
        return self._firmware.time_s

    def step(self, duration_s: float) -> State:
        """Run for a duration, a whole number of PACKET_S; returns the measurement at its end.

        Raises:
            FirmwareError: the firmware stopped.
            MetaRLError: the simulation diverged.
        """
        for _ in range(round(duration_s / PACKET_S)):
            self.outputs = self._firmware.step(self._sensors())[self._order]
            if not self._held:
                self.physics.step(self.thrusts, PACKET_S)
        return self.physics.measure()

    def _sensors(self) -> State:
        truth, task = self.physics.truth, self.physics.task
        at_rest = self._held or truth.specific_force is None
        force = np.array([0.0, 0.0, GRAVITY_M_S2]) if at_rest else np.asarray(truth.specific_force)
        noise = self._rng.standard_normal(6)
        v = truth.v.copy()
        v[3:] += task.gyro_noise_rad_s * noise[:3]
        return State(truth.q, v, force + task.accelerometer_noise_m_s2 * noise[3:])
