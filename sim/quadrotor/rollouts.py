# SPDX-License-Identifier: Apache-2.0
"""Training rollouts of quadrotors: random flights under the data-collection controller.

Measurements are delayed and noisy as on the plant. The rotors' thrusts are dithered so that their effects can be
identified separately (data_collection_controller.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.random_trajectories import drawn_flight
from metarl_robot.sim.kinds import RolloutArrays
from metarl_robot.sim.quadrotor.data_collection_controller import DataCollectionController
from metarl_robot.sim.quadrotor.family import MEMBERS, member
from metarl_robot.sim.quadrotor.feasibility import hover_use
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch
from metarl_robot.sim.quadrotor.ranges import TRAIN, QuadrotorRanges, draw_task
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from metarl_robot.sim.work_queue import in_shares

Array = NDArray[np.float64]

_START_ERROR = (0.1, 0.3, 0.1, 0.5)  # m, m/s, rad, rad/s: standard deviation of the start about the reference
_DITHER = 0.03  # of the hover thrust
_LONGEST_START_S = 6.0  # longest time from the start of the flight to the start of the rollout
_HEIGHT_M = 4.0
_MOST_HOVER_USE = 0.85
_WORST_TILT_RAD = np.deg2rad(85.0)
_SHARE = 16  # quadrotors: one thread computes references while another flies
_FASTEST = 1.5  # of the limits of speed and rates


class QuadrotorRollouts:
    """See metarl_robot.sim.kinds.RolloutMaker.

    Tasks in which a hover needs more than 85 % of thrust or tilt are redrawn.
    """

    def __init__(self, robot: Quadrotor) -> None:
        self._robot = robot

    def draw_task(self, rng: np.random.Generator, ranges: QuadrotorRanges | None) -> QuadrotorTask:
        index = int(rng.integers(MEMBERS)) if self._robot.family else None
        robot = self._robot if index is None else member(index)
        while True:
            task = draw_task(robot, rng, ranges or TRAIN)
            if hover_use(robot, task) <= _MOST_HOVER_USE:
                return task if index is None else replace(task, member=index)

    def simulate(
        self, tasks: list[QuadrotorTask], rng: np.random.Generator, steps: int, threads: int
    ) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        arrays = _empty(self._robot, len(tasks), steps)
        valid = np.zeros(len(tasks), bool)
        for robot, chosen in flown(self._robot, tasks):
            flights = _Flights(robot)
            part, valid[chosen] = flights.simulate([tasks[i] for i in chosen], rng, steps, threads)
            for name, values in part.items():
                arrays[name][chosen] = values
        return arrays, valid


def flown(robot: Quadrotor, tasks: Sequence[QuadrotorTask]) -> Iterator[tuple[Quadrotor, list[int]]]:
    """Yield each quadrotor that flies some of the tasks, and their indices."""
    for index in dict.fromkeys(task.member for task in tasks):
        yield robot if index is None else member(index), [i for i, task in enumerate(tasks) if task.member == index]


class _Flights:
    """Flights of one quadrotor."""

    def __init__(self, robot: Quadrotor) -> None:
        self._robot = robot

    def simulate(
        self, tasks: list[QuadrotorTask], rng: np.random.Generator, steps: int, threads: int
    ) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        robot, count = self._robot, len(tasks)
        times = np.arange(steps + 1, dtype=np.float64) * robot.control_period_s
        motions = [self._motion(rng, times) for _ in tasks]
        laws = DataCollectionController(robot, rng, count)
        seeds = rng.integers(2**31, size=count).tolist()
        dither = _DITHER * robot.hover_thrust.mean() * rng.standard_normal((steps, count, robot.nu))
        start_errors = np.array([error * rng.standard_normal((count, 3)) for error in _START_ERROR])
        arrays, crashed = _empty(robot, count, steps), np.empty(count, bool)

        def fly(share: slice) -> None:
            samples = [motion() for motion in motions[share]]
            points = Setpoints(*(np.array([getattr(sample, name) for sample in samples]) for name in ("q", "v", "a")))
            plant = QuadrotorBatch(robot, tasks[share], seeds[share])
            plant.reset(*_start(points, start_errors[:, share]))
            plant.follow(
                laws.share(share), points, dither[:, share], {name: array[share] for name, array in arrays.items()}
            )
            crashed[share] = plant.crashed

        in_shares(count, threads, fly, _SHARE)
        return arrays, ~crashed & _within_limits(robot, arrays)

    def _motion(self, rng: np.random.Generator, times: Array) -> Callable[[], Setpoints]:
        """Draw the random numbers of a flight; the returned call computes its setpoints."""
        flight = drawn_flight(self._robot, rng, times[-1] + _LONGEST_START_S, (0.0, 0.0, _HEIGHT_M))
        start_s = rng.uniform(0.0, _LONGEST_START_S)
        return lambda: flight().sample(times + start_s)


def _start(points: Setpoints, errors: Array) -> tuple[Array, Array]:
    """Poses (T, 7) and velocities (T, 6) about the first setpoints.

    errors: (4, T, 3) of position, velocity, angle and rate.
    """
    place, speed, angle, rate = errors
    q, v = points.q[:, 0], points.v[:, 0]
    attitude = rotation.multiply(q[:, 3:], rotation.exp(angle))
    return np.concatenate([q[:, :3] + place, attitude], axis=1), v + np.concatenate([speed, rate], axis=1)


def _empty(robot: Quadrotor, count: int, steps: int) -> RolloutArrays:
    sizes = {"q": robot.nq, "v": robot.dof, "specific_force": 3}
    states = {
        name + kind: np.empty((count, steps + 1, size), np.float32)
        for kind in ("", "_measured")
        for name, size in sizes.items()
    }
    return {**states, **{name: np.empty((count, steps, robot.nu), np.float32) for name in ("effort", "acting")}}


def _within_limits(robot: Quadrotor, arrays: RolloutArrays) -> NDArray[np.bool_]:
    attitude, v = arrays["q"][..., 3:].astype(np.float64), arrays["v"]
    slow = (np.abs(v) < _FASTEST * robot.velocity_limit).all(axis=(1, 2))
    return np.asarray(slow & (rotation.tilt(attitude) < _WORST_TILT_RAD).all(axis=1) & np.isfinite(v).all(axis=(1, 2)))
