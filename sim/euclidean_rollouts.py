# SPDX-License-Identifier: Apache-2.0
"""Training rollouts of robots with a vector as position, under a data-collection controller.

It is a detuned computed torque controller. Half of the motions are tracking motions, half are excitation:

    command = ID_nominal(q_m, v_m, a_ref + kp (q_ref - q_m) + kd (v_ref - v_m)),    kp = w^2, kd = 2 d w

The bandwidth w and the damping d are drawn for each task. q_m and v_m are measured as on the plant: delayed, quantised,
noisy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference, Setpoints, State
from metarl_robot.sim.euclidean_batch import EuclideanBatch
from metarl_robot.sim.kinds import RolloutArrays
from metarl_robot.sim.work_queue import in_shares
from metarl_robot.trajectories.euclidean import random_excitation, random_tracking
from metarl_robot.trajectories.shifted import Shifted

Array = NDArray[np.float64]

_BANDWIDTH_RAD_S = (10.0, 25.0)
_DAMPING = (0.6, 1.4)
_START_ERROR = (0.02, 0.05)  # rad, rad/s: standard deviation of the start about the reference
_MARGIN_RAD = 0.01  # from the start to the position limits
_LONGEST_START_S = 3.0  # longest time from the start of the motion to the start of the rollout


class EuclideanRollouts:
    """See metarl_robot.sim.kinds.RolloutMaker.

    Arguments:
        robot: the robot.
        draw: makes `draw_task`.
        batch: (tasks, seeds of the sensors) → their simulation.
        effort: nominal efforts (T, n) for q, v, a (T, n).
    """

    def __init__(
        self,
        robot: Robot,
        draw: Callable[[np.random.Generator, Any], Any],
        batch: Callable[[Sequence[Any], Sequence[int]], EuclideanBatch],
        effort: Callable[[Array, Array, Array], Array],
    ) -> None:
        self._robot, self.draw_task, self._batch, self._effort = robot, draw, batch, effort
        self._one_at_a_time = Lock()

    def simulate(
        self, tasks: list[Any], rng: np.random.Generator, steps: int, threads: int
    ) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        robot, count = self._robot, len(tasks)
        times = np.arange(steps + 1, dtype=np.float64) * robot.control_period_s
        motions = [_motion(robot, rng, times[-1]) for _ in tasks]
        bandwidth, damping = rng.uniform(*_BANDWIDTH_RAD_S, (count, 1)), rng.uniform(*_DAMPING, (count, 1))
        error_q, error_v = (error * rng.standard_normal((count, robot.dof)) for error in _START_ERROR)
        seeds = rng.integers(2**31, size=count).tolist()
        names = ("q", "v", "q_measured", "v_measured", "effort")
        log = {name: np.empty((steps + (name != "effort"), count, robot.dof), np.float32) for name in names}

        def track(share: slice) -> None:
            samples = [motion.sample(times) for motion in motions[share]]
            points = Setpoints(
                *(np.stack([getattr(sample, name) for sample in samples], axis=1) for name in ("q", "v", "a"))
            )
            start_q = np.clip(
                points.q[0] + error_q[share], robot.position_lower + _MARGIN_RAD, robot.position_upper - _MARGIN_RAD
            )
            plant = self._batch(tasks[share], seeds[share])
            stiffness, braking = bandwidth[share] ** 2, 2 * damping[share] * bandwidth[share]
            measured = plant.reset(start_q, points.v[0] + error_v[share])
            for k in range(steps + 1):
                truth = plant.truth
                log["q"][k, share], log["v"][k, share] = truth.q, truth.v
                log["q_measured"][k, share], log["v_measured"][k, share] = measured.q, measured.v
                if k == steps:
                    break
                feedback = stiffness * (points.q[k] - measured.q) + braking * (points.v[k] - measured.v)
                effort = self._inverse_dynamics(measured, points.a[k] + feedback)
                log["effort"][k, share] = effort
                measured = plant.step(effort)

        in_shares(count, threads, track)
        arrays = {name: np.ascontiguousarray(values.swapaxes(0, 1)) for name, values in log.items()}
        return arrays, _within_limits(robot, arrays)

    def _inverse_dynamics(self, state: State, acceleration: Array) -> Array:
        """Efforts (T, n), clamped to the limits."""
        limit = self._robot.effort_limit
        with self._one_at_a_time:
            return np.clip(self._effort(state.q, state.v, acceleration), -limit, limit)


def _within_limits(robot: Robot, arrays: RolloutArrays) -> NDArray[np.bool_]:
    q, v = arrays["q"], arrays["v"]
    inside = (q > robot.position_lower) & (q < robot.position_upper) & (np.abs(v) < robot.velocity_limit)
    return np.asarray(inside.all(axis=(1, 2)))


def _motion(robot: Robot, rng: np.random.Generator, duration_s: float) -> Reference:
    draw = random_tracking if rng.random() < 0.5 else random_excitation
    start = rng.uniform(0.0, _LONGEST_START_S)
    return Shifted(draw(robot, rng, duration_s + _LONGEST_START_S + 1.0), -start)
