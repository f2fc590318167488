"""Rollouts of quadrotors for learning: random flights under a detuned geometric controller.

    f = m (a_ref + kp (p_ref - p_m) + kd (v_ref - v_m) - g),    collective thrust f · z_b,    desired z_b along f, heading of the reference
    torque = J (α_ref + kr e_R + kw (ω_ref - ω_m)),             e_R: rotation vector from the measured to the desired attitude

(Lee, Leok, McClamroch, CDC 2010, with gains drawn anew for each task.) Measurements are as on the plant: late and noisy. Slow
motors are sped up: the command leads, in speed, by as much as brings the lag down to 20 ms. Rotors' thrusts are dithered, so that what
each of them does can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot import rotation
from metarl_robot.flatness import FlatTrajectory
from metarl_robot.flatness import attitude as desired_attitude
from metarl_robot.flight import random_flight
from metarl_robot.quadrotor import GRAVITY_M_S2, Quadrotor
from metarl_robot.reference import Shifted
from metarl_robot.signals import Setpoints, State
from metarl_robot.sim.kinds import RolloutArrays
from metarl_robot.sim.quadrotor.family import MEMBERS, member
from metarl_robot.sim.quadrotor.feasibility import hover_use
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch
from metarl_robot.sim.quadrotor.ranges import TRAIN, QuadrotorRanges, draw_task
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from metarl_robot.sim.shares import in_shares

Array = NDArray[np.float64]

_RATE_BANDWIDTH = (0.35, 0.6)  # times the motors' lag and typical latency
_ATTITUDE_SHARE = (0.15, 0.3)  # kr over kw^2; 1/4 is critically damped
_POSITION_SHARE = (0.25, 0.4)  # position bandwidth over that of the attitude
_POSITION_DAMPING = (0.7, 1.2)
_FASTEST_LAG_S = 0.020
_LATENCY_S = 0.015
_START_ERROR = (0.1, 0.3, 0.1, 0.5)  # m, m/s, rad, rad/s: standard deviation of the start about the reference
_DITHER = 0.03  # of the hover thrust
_LONGEST_START_S = 6.0  # a rollout starts up to this long after the flight did
_HEIGHT_M = 4.0
_MOST_HOVER_USE = 0.85
_WORST_TILT_RAD = np.deg2rad(85.0)
_FASTEST = 1.5  # of the limits of speed and rates


class QuadrotorRollouts:
    """See metarl_robot.sim.kinds.RolloutMaker. Tasks in which a hover takes more than 85 % of thrust or tilt are drawn again."""

    def __init__(self, robot: Quadrotor) -> None:
        self._robot = robot

    def draw_task(self, rng: np.random.Generator, ranges: QuadrotorRanges | None) -> QuadrotorTask:
        index = int(rng.integers(MEMBERS)) if self._robot.family else None
        robot = self._robot if index is None else member(index)
        while True:
            task = draw_task(robot, rng, ranges or TRAIN)
            if hover_use(robot, task) <= _MOST_HOVER_USE:
                return replace(task, member=index)

    def simulate(
        self, tasks: list[QuadrotorTask], rng: np.random.Generator, steps: int, threads: int
    ) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        arrays = {name: np.empty((len(tasks), steps + extra, size), np.float32) for name, (extra, size) in _sizes(self._robot).items()}
        valid = np.zeros(len(tasks), bool)
        for robot, chosen in flown(self._robot, tasks):
            flights = _Flights(robot)
            part, valid[chosen] = flights.simulate([tasks[i] for i in chosen], rng, steps, threads)
            for name, values in part.items():
                arrays[name][chosen] = values
        return arrays, valid


def flown(robot: Quadrotor, tasks: Sequence[QuadrotorTask]) -> Iterator[tuple[Quadrotor, list[int]]]:
    """Each quadrotor that flies some of the tasks, and which."""
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
        references = [self._flight(rng, times[-1]).sample(times) for _ in tasks]
        points = Setpoints(*(np.stack([getattr(reference, name) for reference in references], axis=1) for name in ("q", "v", "a")))
        laws = DetunedLaw(robot, rng, count)
        seeds = rng.integers(2**31, size=count).tolist()
        dither = _DITHER * robot.hover_thrust.mean() * rng.standard_normal((steps, count, robot.nu))
        start_q, start_v = _start(rng, points)
        log = {name: np.empty((steps + extra, count, size), np.float32) for name, (extra, size) in _sizes(robot).items()}
        crashed = np.empty(count, bool)

        def fly(share: slice) -> None:
            plant, law = QuadrotorBatch(robot, tasks[share], seeds[share]), laws.share(share)
            measured = plant.reset(start_q[share], start_v[share])
            for k in range(steps + 1):
                for suffix, state in (("", plant.truth), ("_measured", measured)):
                    log[f"q{suffix}"][k, share], log[f"v{suffix}"][k, share] = state.q, state.v
                    log[f"specific_force{suffix}"][k, share] = state.specific_force
                if k == steps:
                    break
                effort = law.command(measured, Setpoints(points.q[k, share], points.v[k, share], points.a[k, share]))
                effort = np.clip(effort + dither[k, share], robot.effort_lower, robot.effort_limit)
                measured = plant.step(effort)
                log["effort"][k, share], log["acting"][k, share] = effort, plant.acting_thrust
            crashed[share] = plant.crashed

        in_shares(count, threads, fly)
        arrays = {name: np.ascontiguousarray(values.swapaxes(0, 1)) for name, values in log.items()}
        return arrays, ~crashed & _within_limits(robot, arrays)

    def _flight(self, rng: np.random.Generator, duration_s: float) -> Shifted:
        flight: FlatTrajectory = random_flight(self._robot, rng, duration_s + _LONGEST_START_S, (0.0, 0.0, _HEIGHT_M))
        return Shifted(flight, -rng.uniform(0.0, _LONGEST_START_S))


class DetunedLaw:
    """The geometric controller for T quadrotors, each with its own gains; see the module's docstring."""

    def __init__(self, robot: Quadrotor, rng: np.random.Generator, count: int) -> None:
        self._robot = robot
        lag = max(robot.motor_time_s)
        self._lead = max(1.0, lag / _FASTEST_LAG_S)
        self._follow = 1.0 - np.exp(-robot.control_period_s / np.array(robot.motor_time_s))
        self._kw = rng.uniform(*_RATE_BANDWIDTH, (count, 1)) / (lag / self._lead + _LATENCY_S)
        self._kr = rng.uniform(*_ATTITUDE_SHARE, (count, 1)) * self._kw**2
        bandwidth = rng.uniform(*_POSITION_SHARE, (count, 1)) * np.sqrt(self._kr)
        self._kp, self._kd = bandwidth**2, 2.0 * rng.uniform(*_POSITION_DAMPING, (count, 1)) * bandwidth
        self._inverse = np.linalg.inv(robot.allocation)
        self._speeds = np.tile(robot.speeds(robot.hover_thrust), (count, 1))

    def share(self, which: slice) -> DetunedLaw:
        """That of some of the quadrotors."""
        law = copy(self)
        for name in ("_kw", "_kr", "_kp", "_kd", "_speeds"):
            setattr(law, name, getattr(self, name)[which])
        return law

    def command(self, state: State, points: Setpoints) -> Array:
        """(T, 4) thrusts [N] for states and setpoints (T, ·)."""
        robot, attitude = self._robot, state.q[:, 3:]
        pull = points.a[:, :3] + self._kp * (points.q[:, :3] - state.q[:, :3]) + self._kd * (points.v[:, :3] - state.v[:, :3])
        pull[:, 2] = np.maximum(pull[:, 2] + GRAVITY_M_S2, 0.3 * GRAVITY_M_S2)
        collective = robot.mass_kg * (pull * rotation.up(attitude)).sum(1, keepdims=True)
        error = rotation.error(attitude, desired_attitude(pull, rotation.yaw(points.q[:, 3:])))
        turn = points.a[:, 3:] + self._kr * error + self._kw * (points.v[:, 3:] - state.v[:, 3:])
        wanted = np.concatenate([collective, turn @ robot.inertia], axis=1) @ self._inverse.T
        return self._leading(np.clip(wanted, robot.effort_lower, robot.effort_limit))

    def _leading(self, thrusts: Array) -> Array:
        """Commands that bring the rotors to these thrusts sooner than they would come by themselves."""
        robot = self._robot
        lowest, highest = robot.speeds(robot.effort_lower), robot.speeds(robot.effort_limit)
        target = np.clip(self._speeds + self._lead * (robot.speeds(thrusts) - self._speeds), lowest, highest)
        gap = target - self._speeds
        self._speeds = self._speeds + gap * np.where(gap > 0.0, *self._follow)
        return robot.thrusts_of(target)


def _start(rng: np.random.Generator, points: Setpoints) -> tuple[Array, Array]:
    """Poses (T, 7) and velocities (T, 6) about the first setpoints."""
    place, speed, angle, rate = (error * rng.standard_normal((points.q.shape[1], 3)) for error in _START_ERROR)
    q, v = points.q[0], points.v[0]
    attitude = rotation.multiply(q[:, 3:], rotation.exp(angle))
    return np.concatenate([q[:, :3] + place, attitude], axis=1), v + np.concatenate([speed, rate], axis=1)


def _sizes(robot: Quadrotor) -> dict[str, tuple[int, int]]:
    """Of each array of a rollout: rows beyond the number of steps, columns."""
    states = {"q": robot.nq, "v": robot.dof, "specific_force": 3}
    measured = {f"{name}_measured": (1, size) for name, size in states.items()}
    return {**{name: (1, size) for name, size in states.items()}, **measured, "effort": (0, robot.nu), "acting": (0, robot.nu)}


def _within_limits(robot: Quadrotor, arrays: RolloutArrays) -> NDArray[np.bool_]:
    attitude, v = arrays["q"][..., 3:].astype(np.float64), arrays["v"]
    slow = (np.abs(v) < _FASTEST * robot.velocity_limit).all(axis=(1, 2))
    return np.asarray(slow & (rotation.tilt(attitude) < _WORST_TILT_RAD).all(axis=1) & np.isfinite(v).all(axis=(1, 2)))
