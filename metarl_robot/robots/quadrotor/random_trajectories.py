# SPDX-License-Identifier: Apache-2.0
"""Random flights near a quadrotor's limits, for data and tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.flatness import FlatTrajectory
from metarl_robot.robots.quadrotor.trajectories import MinimumSnap, Sines
from metarl_robot.robots.quadrotor.trajectory_limits import slowed

Array = NDArray[np.float64]


class FlightRange(NamedTuple):
    """Range of random flights.

    size_m: half the box (x, y, z) that they fill. frequency_rad_s: slowest and fastest sine. speed_m_s: least and
    greatest top speed of flights through waypoints. yaw_rad: half the range of headings. thrust_share: share of the
    thrust limit that they may need.
    """

    size_m: tuple[float, float, float] = (1.5, 1.5, 0.75)
    frequency_rad_s: tuple[float, float] = (0.6, 2.5)
    speed_m_s: tuple[float, float] = (1.0, 4.0)
    yaw_rad: float = 0.5
    thrust_share: float = 0.85


_RANGE = FlightRange()
_SINES = 2  # for each output


def random_flight(
    robot: Quadrotor,
    rng: np.random.Generator,
    duration_s: float,
    centre: tuple[float, float, float] = (0.0, 0.0, 2.0),
    flight: FlightRange = _RANGE,
) -> FlatTrajectory:
    """Draw a flight about centre [m; world] from rest at t = 0 to duration_s or later.

    It consists of sines or waypoints, each with probability one half. A flight that the nominal robot cannot fly within
    its share of thrust is slowed down until it can.
    """
    return drawn_flight(robot, rng, duration_s, centre, flight)()


def drawn_flight(
    robot: Quadrotor,
    rng: np.random.Generator,
    duration_s: float,
    centre: tuple[float, float, float] = (0.0, 0.0, 2.0),
    flight: FlightRange = _RANGE,
) -> Callable[[], FlatTrajectory]:
    """Draw the random numbers of `random_flight`; the returned call computes the flight, in any thread."""
    draw = _random_sines if rng.random() < 0.5 else _random_waypoints
    make = draw(rng, duration_s, np.array([*centre, 0.0]), flight)
    return lambda: slowed(robot, make(), duration_s, flight.thrust_share)


def _random_sines(
    rng: np.random.Generator, duration_s: float, centre: Array, flight: FlightRange
) -> Callable[[], Sines]:
    size = np.array([*flight.size_m, flight.yaw_rad])
    share = rng.dirichlet(np.ones(_SINES), 4).T
    frequency = rng.uniform(*flight.frequency_rad_s, (_SINES, 4))
    return partial(Sines, centre, share * size, frequency, rng.uniform(0.0, 2 * np.pi, (_SINES, 4)))


def _random_waypoints(
    rng: np.random.Generator, duration_s: float, centre: Array, flight: FlightRange
) -> Callable[[], MinimumSnap]:
    speed, size = rng.uniform(*flight.speed_m_s), np.array(flight.size_m)
    points = [centre[:3] + rng.uniform(-1.0, 1.0, 3) * size]
    travelled = 0.0
    while travelled < speed * duration_s:
        point = centre[:3] + rng.uniform(-1.0, 1.0, 3) * size
        # short legs would need a high acceleration
        if (leg := float(np.linalg.norm(point - points[-1]))) > 0.3 * size.max():
            points.append(point)
            travelled += leg
    return partial(
        MinimumSnap, np.array(points), speed_m_s=speed, yaw=rng.uniform(-1.0, 1.0, len(points)) * flight.yaw_rad
    )
