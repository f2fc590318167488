# SPDX-License-Identifier: Apache-2.0
"""Suites with forces that must not be learned, or with more load than the efforts can hold.

    contact    table, wall: the reference goes 0.5 to 10 mm below a face for a second and comes back; tap, push: a force
               of half to all of the rated payload's weight (Panda: 15 to 30 N) acts on the tool for 0.5 and 3 s from
               any side; obstacle: a face moves 0.5 to 10 mm beyond the tool of an arm that holds, and retreats
    overload   stretched: a payload is picked up that needs 102 to 120 % of an effort limit; then the arm goes home

Half of the runs carry a payload. Errors 'after' count from 1 s after the release (Scenario.released_s): the end of the
push or of the contact, or the time from which the reference needs at most 85 % of the efforts. While the disturbance
acts, force, limits and estimated mass are scored, not position. An arm does not crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.sim.arm.feasibility import required_effort
from metarl_robot.sim.arm.geometry import home_position
from metarl_robot.sim.arm.obstacle import COMES_S, STAYS_S, TIP_M, Obstacle
from metarl_robot.sim.arm.task import TRAIN, Task, draw_payload, nominal_task, with_sensors
from metarl_robot.sim.arm.tool_path import BEGIN_S, GO_S, STAY_S, possible_direction, there_and_back
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.suite_table import SuiteTable
from metarl_robot.trajectories.euclidean import TRACKING, random_tracking
from metarl_robot.trajectories.splines import Hold, from_points

Array = NDArray[np.float64]
Make = Callable[[Robot, np.random.Generator], Scenario[Task]]

GRAVITY_M_S2 = 9.81
DEPTH_M = (0.5e-3, 10e-3)
APPROACH_M, GAP_M = 0.1, 0.03
PUSHED_S = 2.0
_AFTER_S = 5.0

_TASKS = replace(TRAIN, payload_ratio=(1.0 / 6.0, 0.5))


def _task(robot: Robot, rng: np.random.Generator) -> Task:
    task = with_sensors(nominal_task(robot), rng)
    return replace(task, payload=draw_payload(robot, rng, _TASKS)) if rng.random() < 0.5 else task


def _depth_m(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(DEPTH_M))))


def _against(robot: Robot, rng: np.random.Generator, wanted: Array) -> Scenario[Task]:
    """The reference goes beyond a face across its way."""
    task, depth_m, direction = _task(robot, rng), _depth_m(rng), possible_direction(robot, wanted)
    face = home_position(robot) + (APPROACH_M + TIP_M) * direction
    task = replace(task, obstacle=Obstacle(face, -direction))
    released_s = BEGIN_S + GO_S + STAY_S + 0.5 * GO_S
    return _scenario(task, (), there_and_back(robot, (APPROACH_M + depth_m) * direction), released_s)


def _table(robot: Robot, rng: np.random.Generator) -> Scenario[Task]:
    return _against(robot, rng, np.array([0.0, 0.0, -1.0]))


def _wall(robot: Robot, rng: np.random.Generator) -> Scenario[Task]:
    return _against(robot, rng, _horizontal(rng))


def _obstacle(robot: Robot, rng: np.random.Generator) -> Scenario[Task]:
    task, depth_m, side = _task(robot, rng), _depth_m(rng), possible_direction(robot, _horizontal(rng))
    face = home_position(robot) + (GAP_M + TIP_M) * side
    task = replace(task, obstacle=Obstacle(face, -side, GAP_M + depth_m, BEGIN_S))
    return _scenario(task, (), Hold(robot.home), BEGIN_S + 2.0 * COMES_S + STAYS_S - 0.5 * COMES_S)


def _tap(robot: Robot, rng: np.random.Generator) -> Scenario[Task]:
    return _pushed(robot, rng, 0.5)


def _push(robot: Robot, rng: np.random.Generator) -> Scenario[Task]:
    return _pushed(robot, rng, 3.0)


def _pushed(robot: Robot, rng: np.random.Generator, duration_s: float) -> Scenario[Task]:
    task, side = _task(robot, rng), rng.normal(size=3)
    force_n = rng.uniform(0.5, 1.0) * robot.description.payload.rated_mass_kg * GRAVITY_M_S2
    released_s = PUSHED_S + duration_s
    reference = random_tracking(robot, rng, released_s + _AFTER_S + 2.0, TRACKING.calmer(0.7))
    changes = (PUSHED_S, replace(task, push_n=force_n * side / np.linalg.norm(side))), (released_s, task)
    return _scenario(task, changes, reference, released_s)


def _horizontal(rng: np.random.Generator) -> Array:
    angle = rng.uniform(-np.pi, np.pi)
    return np.array([np.cos(angle), np.sin(angle), 0.0])


_PICKED_S, _LEAVES_S, _HOME_S = 1.0, 2.5, 5.5
_OVERLOAD, _UNLOADED, _SUFFICES = (1.02, 1.2), 0.8, 0.85
_POSES = 1000


def _stretched(robot: Robot, rng: np.random.Generator) -> Scenario[Task]:
    task = with_sensors(nominal_task(robot), rng)
    q, loaded = _overloaded(robot, rng, task)
    reference = from_points([0.0, _LEAVES_S, _HOME_S, 60.0], np.array([q, q, robot.home, robot.home]))
    sampled = np.arange(_LEAVES_S, _HOME_S, 0.02)
    use = _use(robot, required_effort(robot, loaded, reference, sampled))
    return _scenario(task, ((_PICKED_S, loaded),), reference, float(sampled[np.flatnonzero(use > _SUFFICES)[-1]]))


def _overloaded(robot: Robot, rng: np.random.Generator, task: Task) -> tuple[Array, Task]:
    """A pose (n,) among random ones, and the task with the least payload that overloads the robot there."""
    drawn, target = draw_payload(robot, rng, _TASKS), rng.uniform(*_OVERLOAD)
    poses = rng.uniform(robot.position_lower + 0.1, robot.position_upper - 0.1, (_POSES, robot.dof))
    own, with_drawn = (_held(robot, replace(task, payload=one), poses) for one in (Payload(), drawn))
    by_mass = (with_drawn - own) / drawn.mass_kg
    joint_kg = (target * robot.effort_limit - np.sign(by_mass) * own) / np.maximum(np.abs(by_mass), 1e-9)
    least_kg = np.where(_use(robot, own) < _UNLOADED, joint_kg.min(axis=1), np.inf)
    best = int(np.argmin(least_kg))
    share = least_kg[best] / drawn.mass_kg
    body = replace(drawn, mass_kg=float(least_kg[best]), inertia_kg_m2=share * drawn.inertia_kg_m2)
    loaded = replace(task, payload=body)
    home = _use(robot, _held(robot, loaded, robot.home[None]))[0] if np.isfinite(share) else np.inf
    if home > _SUFFICES:
        raise MetaRLError(
            f"no pose of '{robot.name}' in which a payload needs more than its effort limits while home needs at most "
            f"{_SUFFICES:.0%} of them: this robot has no suite 'overload'"
        )
    return poses[best], loaded


def _held(robot: Robot, task: Task, poses: Array) -> Array:
    """Efforts (N, n) that hold the robot at poses (N, n)."""
    return required_effort(robot, task, _AtRest(poses), np.arange(float(len(poses))))


class _AtRest:
    """Reference: poses (N, n) one after the other, each at rest, sampled all at once."""

    def __init__(self, poses: Array) -> None:
        self._poses = poses

    def sample(self, times: Array) -> Setpoints:
        still = np.zeros_like(self._poses)
        return Setpoints(self._poses, still, still)


def _use(robot: Robot, efforts: Array) -> Array:
    return np.asarray(np.max(np.abs(efforts) / robot.effort_limit, axis=1))


def _scenario(
    task: Task, changes: tuple[tuple[float, Task], ...], reference: Reference, released_s: float
) -> Scenario[Task]:
    """contact_scenario fills in name and seeds."""
    end_s = released_s + _AFTER_S
    return Scenario("", task, changes, reference, end_s, 0, 0, scored_from_s=0.5, released_s=released_s)


CONTACT_SUITES: SuiteTable[Make] = SuiteTable(
    {
        "contact": {"table": _table, "wall": _wall, "tap": _tap, "push": _push, "obstacle": _obstacle},
        "overload": {"stretched": _stretched},
    }
)


def contact_scenario(robot: Robot, suite: str, kind: str, seed: int) -> Scenario[Task]:
    """One run of these suites. Raises UnknownNameError, and MetaRLError where the robot cannot be overloaded."""
    make, rng = CONTACT_SUITES.pick(suite, kind, seed)
    return replace(make(robot, rng), name=kind, seed=seed, noise_seed=int(rng.integers(2**31)))
