# SPDX-License-Identifier: Apache-2.0
"""A Plant (sim/kinds.py) that a firmware of its own flies; it stands at its start until the motors carry it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.sim.quadrotor.betaflight.commissioning import commission
from metarl_robot.sim.quadrotor.betaflight.firmware import PACKET_S, Firmware, FirmwareError
from metarl_robot.sim.quadrotor.betaflight.plant import BetaflightPlant
from metarl_robot.sim.quadrotor.plant import FlightViolations
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]

_CARRIES, _CARRIES_FOR_S = 0.9, 0.1
"""Thrust, as a share of the weight without payload, and the time for which it acts before the quadrotor is released."""


class StandPlant:
    """See the module's docstring. Before the first `step` the firmware runs in about real time, so that MSP answers.

    Arguments:
        robot: a quad X with a betaflight.txt in its folder, the settings of its flight controller.
        task, seed: of the simulation.

    Raises:
        FirmwareError: Betaflight is not built or does not start, or the robot has no settings for it.
    """

    def __init__(self, robot: Quadrotor, task: QuadrotorTask, seed: int | Sequence[int]) -> None:
        settings = robot.folder / "betaflight.txt"
        if not settings.is_file():
            raise FirmwareError(f"{robot.name} has no settings for Betaflight: {settings} is missing")
        self._robot = robot
        self._folder = tempfile.TemporaryDirectory(prefix="betaflight-")
        commission(Path(self._folder.name), settings, State(robot.home, np.zeros(6)))
        self._firmware = Firmware(Path(self._folder.name))
        self._plant = BetaflightPlant(robot, self._firmware, task, seed)
        self._stood_s = self._carried_s = 0.0
        self._idle, self._lock = True, threading.Lock()
        self._idler = threading.Thread(target=self._run_idle, daemon=True)
        self._idler.start()

    def close(self) -> None:
        """End the firmware."""
        self._end_idle()
        self._firmware.close()
        self._folder.cleanup()

    def reset(self, q: Array | None = None, v: Array | None = None) -> State:
        """Stand at a pose q (7,), to be released with v (6,); default: home, at rest. The firmware goes on."""
        with self._lock:
            self._stood_s = self._carried_s = 0.0
            self._plant.reset(self._robot.home if q is None else q, np.zeros(6) if v is None else v)
            return self.measure()

    def step(self, effort: Array, duration_s: float) -> State:
        """Run for a duration; the effort is not used."""
        self._end_idle()
        self._plant.step(duration_s)
        if self._plant.held:
            self._stood_s += duration_s
            carries = self.applied_effort.sum() >= _CARRIES * self._robot.mass_kg * GRAVITY_M_S2
            self._carried_s = self._carried_s + duration_s if carries else 0.0
            if self._carried_s >= _CARRIES_FOR_S:
                self._plant.release()
        return self.measure()

    def set_task(self, task: QuadrotorTask) -> None:
        self._plant.physics.set_task(task)

    def measure(self) -> State:
        """The measurement; of a standing quadrotor without noise, whose repetition would look like a stuck driver."""
        return self._plant.physics.truth if self._plant.held else self._plant.physics.measure()

    @property
    def task(self) -> QuadrotorTask:
        return self._plant.physics.task

    @property
    def quantities(self) -> Array:
        return self._plant.physics.quantities

    @property
    def time(self) -> float:
        """Seconds since the reset; the physics' own time begins with the release."""
        return self._stood_s + self._plant.physics.time

    @property
    def stamp(self) -> float:
        return self._stood_s + self._plant.physics.stamp

    @property
    def truth(self) -> State:
        return self._plant.physics.truth

    @property
    def applied_effort(self) -> Array:
        return self._plant.thrusts

    @property
    def crashed(self) -> bool:
        return bool(self._plant.physics.crashed)

    @property
    def violations(self) -> FlightViolations:
        return self._plant.physics.violations

    def _run_idle(self) -> None:
        while self._idle:
            with self._lock:
                self._plant.step(PACKET_S)
            time.sleep(PACKET_S)

    def _end_idle(self) -> None:
        if self._idle:
            self._idle = False
            self._idler.join()
