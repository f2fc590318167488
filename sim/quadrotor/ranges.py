# SPDX-License-Identifier: Apache-2.0
"""Ranges of quadrotors' tasks, and random draws from them.

All sizes are relative to the robot, so that one table serves quadrotors from 30 g to 2 kg: payloads to its mass and
arms, winds to the fastest in which it can hover.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.sim.payload.body import Payload, draw_box
from metarl_robot.sim.quadrotor.feasibility import holding_wind
from metarl_robot.sim.quadrotor.tasks import NOISES, QuadrotorTask, Wind

Array = NDArray[np.float64]

FASTEST_WIND_M_S = 12.1
HOLDING_SHARE = 0.7  # of thrust and of the tilt limit in the reference wind; the rest is left for manoeuvres
_SEEDS = 2**31
_DOWN = np.array([0.0, 0.0, -1.0])


@dataclass(frozen=True)
class QuadrotorRanges:
    """Lowest and highest value of every condition.

    payload_ratio: mass over the quadrotor's; payload_probability: share of tasks with a payload. com_ratio, side_ratio:
    distance of its centre of mass below the payload site, and sides of the box that gives its inertia, over the length
    of an arm. sling_ratio: length of a sling over that of an arm. wind_ratio: mean wind over `reference_wind`, in any
    horizontal direction; wind_probability: share of tasks with wind. swing_ratio, gust_ratio: amplitude of a sinusoid
    along the wind, standard deviation of gusts, over the mean wind. swing_probability: share of winds that swing.
    drag_scale: of rotor drag and of parasitic drag. weak_probability: share of tasks with one weak rotor;
    effectiveness: of that rotor. battery: thrust factor. latency_s: command and sensor delay together; command_share is
    the command's part. The rest: standard deviations of the sensors' noise.
    """

    payload_probability: float = 0.6
    payload_ratio: tuple[float, float] = (0.0, 0.3)
    com_ratio: tuple[float, float] = (0.0, 0.2)
    side_ratio: tuple[float, float] = (0.1, 0.5)
    sling_ratio: tuple[float, float] = (2.0, 5.0)
    wind_probability: float = 0.8
    wind_ratio: tuple[float, float] = (0.0, 1.0)
    swing_probability: float = 0.3
    swing_ratio: tuple[float, float] = (0.1, 0.35)
    swing_rad_s: tuple[float, float] = (0.5, 2.0)
    gust_ratio: tuple[float, float] = (0.0, 0.15)
    drag_scale: tuple[float, float] = (0.7, 1.4)
    weak_probability: float = 0.3
    effectiveness: tuple[float, float] = (0.7, 1.0)
    battery: tuple[float, float] = (0.8, 1.0)
    latency_s: tuple[float, float] = (0.0, 0.020)
    command_share: tuple[float, float] = (0.0, 1.0)
    position_noise_m: tuple[float, float] = (0.0005, 0.0015)
    attitude_noise_rad: tuple[float, float] = (0.001, 0.003)
    velocity_noise_m_s: tuple[float, float] = (0.01, 0.03)
    gyro_noise_rad_s: tuple[float, float] = (0.005, 0.02)
    accelerometer_noise_m_s2: tuple[float, float] = (0.1, 0.4)


TRAIN = QuadrotorRanges()
LIGHT_WIND = replace(TRAIN, wind_ratio=(0.0, 0.35))
HEAVY = replace(TRAIN, payload_ratio=(0.30, 0.45))
STRONG_WIND = replace(TRAIN, wind_ratio=(1.0, 1.25), swing_probability=0.0)


@lru_cache(maxsize=16)
def reference_wind(robot: Quadrotor) -> float:
    """Reference wind [m/s] of ranges and suites.

    It is 12.1, or the wind in which a hover needs 70 % of thrust or tilt, if less.
    """
    return min(FASTEST_WIND_M_S, holding_wind(robot, HOLDING_SHARE))


def draw_task(robot: Quadrotor, rng: np.random.Generator, ranges: QuadrotorRanges = TRAIN) -> QuadrotorTask:
    """Draw a random task within `ranges`."""
    payload = draw_payload(robot, rng, ranges) if rng.random() < ranges.payload_probability else Payload()
    wind = draw_wind(robot, rng, ranges) if rng.random() < ranges.wind_probability else Wind()
    drag = rng.uniform(*ranges.drag_scale, 2)
    sensors = _sensors(rng, ranges)
    battery = rng.uniform(*ranges.battery)
    effectiveness = (
        _effectiveness(robot, rng, 1, ranges) if rng.random() < ranges.weak_probability else np.ones(robot.nu)
    )
    return QuadrotorTask(payload, wind=wind, drag_scale=drag, effectiveness=effectiveness, battery=battery, **sensors)


def draw_payload(robot: Quadrotor, rng: np.random.Generator, ranges: QuadrotorRanges = TRAIN) -> Payload:
    """Draw a box of random mass, size, place and orientation, below the payload site."""
    arm = arm_length(robot)
    com, side = ((low * arm, high * arm) for low, high in (ranges.com_ratio, ranges.side_ratio))
    return draw_box(rng, rng.uniform(*ranges.payload_ratio) * robot.mass_kg, com, side, _DOWN)


def draw_wind(robot: Quadrotor, rng: np.random.Generator, ranges: QuadrotorRanges = TRAIN) -> Wind:
    """Draw a horizontal wind with gusts; it may swing."""
    speed = rng.uniform(*ranges.wind_ratio) * reference_wind(robot)
    direction = draw_direction(rng)
    swing = speed * rng.uniform(*ranges.swing_ratio) if rng.random() < ranges.swing_probability else 0.0
    return Wind(
        mean_m_s=speed * direction,
        swing_m_s=swing * direction,
        swing_rad_s=rng.uniform(*ranges.swing_rad_s),
        gust_m_s=speed * rng.uniform(*ranges.gust_ratio),
        gust_seed=int(rng.integers(_SEEDS)),
    )


def draw_direction(rng: np.random.Generator) -> Array:
    """Draw a horizontal unit vector (3,)."""
    heading = rng.uniform(-np.pi, np.pi)
    return np.array([np.cos(heading), np.sin(heading), 0.0])


def weakened(
    robot: Quadrotor, task: QuadrotorTask, rng: np.random.Generator, rotors: int, ranges: QuadrotorRanges = TRAIN
) -> QuadrotorTask:
    """Return the task with `rotors` weak rotors, drawn at random."""
    return replace(task, effectiveness=_effectiveness(robot, rng, rotors, ranges))


def _effectiveness(robot: Quadrotor, rng: np.random.Generator, rotors: int, ranges: QuadrotorRanges) -> Array:
    effectiveness = np.ones(robot.nu)
    effectiveness[rng.permutation(robot.nu)[:rotors]] = rng.uniform(*ranges.effectiveness, rotors)
    return effectiveness


def with_sensors(task: QuadrotorTask, rng: np.random.Generator, ranges: QuadrotorRanges = TRAIN) -> QuadrotorTask:
    """Return the task with redrawn latency and noise."""
    return replace(task, **_sensors(rng, ranges))


def _sensors(rng: np.random.Generator, ranges: QuadrotorRanges) -> dict[str, Any]:
    latency, share = rng.uniform(*ranges.latency_s), rng.uniform(*ranges.command_share)
    delays = {"command_delay_s": share * latency, "sensor_delay_s": (1.0 - share) * latency}
    return {**delays, **{name: rng.uniform(*getattr(ranges, name)) for name in NOISES}}


@lru_cache(maxsize=16)
def arm_length(robot: Quadrotor) -> float:
    """Mean horizontal distance of the hubs from the body's origin [m]."""
    return float(np.mean(np.linalg.norm(robot.rotor_positions[:, :2], axis=1)))
