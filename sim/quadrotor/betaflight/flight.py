# SPDX-License-Identifier: Apache-2.0
"""Flights through Betaflight's firmware in one process: controller → bridge core → MSP → firmware → plant.

The quadrotor is held at the reference's start until the firmware is armed and its motors turn, then released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import Reference, State
from metarl_robot.robots.quadrotor.betaflight.bridge import BetaflightBridge
from metarl_robot.robots.quadrotor.betaflight.msp_link import MspLink
from metarl_robot.robots.quadrotor.betaflight.pilot import Phase
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.quadrotor.betaflight.firmware import MSP_URL, PACKET_S, Firmware
from metarl_robot.sim.quadrotor.betaflight.plant import BetaflightPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind

Array = NDArray[np.float64]

SCORED_FROM_S = 1.0
HEIGHT_M = 2.0
WIND_M_S, PAYLOAD_SHARE = 6.0, 0.3
_ARMED_WITHIN_S, _SPINNING_S = 20.0, 0.3
_NOISES: dict[str, Any] = {
    "position_noise_m": 0.001, "attitude_noise_rad": 0.002, "velocity_noise_m_s": 0.01, "gyro_noise_rad_s": 0.005,
    "accelerometer_noise_m_s2": 0.05, "sensor_delay_s": 0.005,
}  # fmt: skip


class Flight(NamedTuple):
    """A flight: error_m (K,) each control period, of its scored part rms_m and worst_m, disarms not asked for."""

    error_m: Array
    rms_m: float
    worst_m: float
    disarms: int
    crashed: bool


def loaded_task(robot: Quadrotor, seed: int) -> QuadrotorTask:
    """The conditions: 30 % of payload, 6 m/s of wind from a random side, noise of motion capture and gyroscope."""
    angle = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi)
    wind = Wind(WIND_M_S * np.array([np.cos(angle), np.sin(angle), 0.0]))
    return QuadrotorTask(payload=Payload(mass_kg=PAYLOAD_SHARE * robot.mass_kg), wind=wind, **_NOISES)


def flights() -> dict[str, Reference]:
    """Hover, and a figure eight (2.5 m by 1.5 m, upright, 10.5 s) for which an X500 with this payload has the thrust.

    At the 6.3 s of the other evaluations it would need 101 % of the rotors' thrust.
    """
    centre = np.array([0.0, 0.0, HEIGHT_M])
    return {"hover": Hover(centre), "figure eight": FigureEight(centre, rate_rad_s=0.6)}


def arm(bridge: BetaflightBridge, plant: BetaflightPlant, hover: Array) -> None:
    """Arm a held quadrotor, and give thrusts (4,) [N] until its motors turn with them.

    Raises:
        MetaRLError: it does not arm; the message names the flight controller's reasons.
    """
    period = plant.physics.robot.control_period_s
    bridge.pilot.arm = True
    end_s = plant.time_s + _ARMED_WITHIN_S
    while bridge.pilot.phase is not Phase.FLYING:
        _hold(bridge, plant, hover)
        if plant.time_s > end_s:
            raise MetaRLError(f"Betaflight does not arm: {', '.join(bridge.pilot.status.not_arming)}")
    for _ in range(round(_SPINNING_S / period)):
        _hold(bridge, plant, hover)


def fly(
    robot: Quadrotor,
    controller: Controller,
    reference: Reference,
    task: QuadrotorTask,
    folder: Path,
    duration_s: float = 8.0,
    seed: int = 0,
) -> Flight:
    """Fly a reference from its start.

    Arguments:
        controller: one with a method `flown` learns from the thrusts that the firmware gave. It is reset before.
        folder: of a commissioned firmware.

    Raises:
        FirmwareError, LinkError, SettingsError, MetaRLError: no flight is possible.
    """
    period, crashed = robot.control_period_s, False
    error: list[float] = []
    start = reference.sample(np.zeros(1))
    with Firmware(folder) as firmware:
        plant = BetaflightPlant(robot, firmware, task, seed)
        plant.reset(start.q[0], start.v[0])
        with MspLink(MSP_URL, idle=lambda: _wait(plant)) as link:
            bridge = BetaflightBridge(robot, link)
            arm(bridge, plant, robot.hover_thrust)
            controller.reset()
            state = plant.release()
            for k in range(round(duration_s / period)):
                state = _period(bridge, plant, controller, reference, state)
                expected = reference.sample(np.array([(k + 1) * period])).q[0, :3]
                error.append(float(np.linalg.norm(plant.physics.position - expected)))
                crashed = bool(plant.physics.crashed)
                if crashed:
                    break
            disarms = bridge.pilot.disarms
    scored = np.array(error[round(SCORED_FROM_S / period) :] or [np.inf])
    return Flight(np.array(error), float(np.sqrt(np.mean(scored**2))), float(scored.max()), disarms, crashed)


def _wait(plant: BetaflightPlant) -> None:
    plant.step(PACKET_S)


def _hold(bridge: BetaflightBridge, plant: BetaflightPlant, thrusts: Array) -> None:
    """One control period of a held quadrotor under constant thrusts."""
    state = plant.physics.measure()
    bridge.update(plant.time_s, plant.time_s, state)
    bridge.command(state, thrusts)
    plant.step(plant.physics.robot.control_period_s)


def _period(
    bridge: BetaflightBridge, plant: BetaflightPlant, controller: Controller, reference: Reference, state: State
) -> State:
    """One control period; returns the measurement at its end."""
    stamp_s = plant.physics.stamp
    bridge.update(plant.time_s, stamp_s, state)
    tell = getattr(controller, "flown", None)
    if tell is not None and bridge.acting is not None and plant.physics.time > 0.0:
        tell(bridge.acting)
    command = controller.step(stamp_s, state, reference)
    bridge.command(state, command.effort)
    return plant.step(plant.physics.robot.control_period_s)
