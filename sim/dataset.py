"""Data for learning: many tasks simulated at once with mujoco.batch, under a detuned controller on random motions.

    command = ID_nominal(q_m, v_m, a_ref + kp (q_ref - q_m) + kd (v_ref - v_m)),    kp = w^2, kd = 2 d w

with the bandwidth w and the damping d drawn anew for each task, and q_m, v_m measured as on the plant: late, rounded, noisy.
The task is constant in each rollout. A rollout that runs into a joint's stop or exceeds its speed is drawn again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.errors import MetaRLError
from metarl_robot.reference import Shifted, random_excitation, random_tracking
from metarl_robot.robot import Robot
from metarl_robot.signals import Reference
from metarl_robot.sim.batch import BatchPlant
from metarl_robot.sim.suites import stream
from metarl_robot.sim.task import TRAIN, Task, TaskRanges, draw_task

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

_BANDWIDTH_RAD_S = (10.0, 25.0)
_DAMPING = (0.6, 1.4)
_START_ERROR = (0.02, 0.05)  # rad, rad/s: standard deviation of the start about the reference
_LONGEST_START_S = 3.0  # a rollout starts up to this long after the motion did
_BLOCK = 500  # tasks simulated at once: bounds the memory and paces the progress calls
_DATA = 1000  # second word of the entropy: no scenario kind has this index
_ATTEMPTS = 20
_ARRAYS = ("times", "q", "v", "q_measured", "v_measured", "effort")


class _Arrays(NamedTuple):
    q: Array32
    v: Array32
    q_measured: Array32
    v_measured: Array32
    effort: Array32


@dataclass(frozen=True, eq=False)
class DataSet:
    """T rollouts of S control steps.

    times: (S + 1,) [s]. q, v: (T, S + 1, n) true state. q_measured, v_measured: (T, S + 1, n) what the sensors said then.
    effort: (T, S, n) commanded from times[k] to times[k + 1] [Nm]. tasks: T tasks.
    """

    robot: str
    times: Array
    q: Array32
    v: Array32
    q_measured: Array32
    v_measured: Array32
    effort: Array32
    tasks: tuple[Task, ...]

    def sha256(self) -> str:
        """Hash of the contents."""
        digest = hashlib.sha256(json.dumps([self.robot, [task.to_dict() for task in self.tasks]]).encode())
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write an npz without pickles."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        np.savez(path, robot=self.robot, tasks=json.dumps([task.to_dict() for task in self.tasks]), **arrays)

    @classmethod
    def load(cls, path: Path) -> DataSet:
        """Read what `save` wrote.

        Raises:
            MetaRLError: the file is missing, damaged or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in _ARRAYS}
                tasks = tuple(Task.from_dict(task) for task in json.loads(str(file["tasks"])))
                return cls(str(file["robot"]), tasks=tasks, **arrays)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise MetaRLError(f"{path}: not a data set of this project: {error}") from error


def collect(
    robot: Robot,
    tasks: int,
    seed: int,
    suite: str = "train",
    duration_s: float = 1.5,
    ranges: TaskRanges = TRAIN,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> DataSet:
    """Simulate random tasks on random motions: half of them tracking, half of them excitation.

    Arguments:
        tasks: how many rollouts, each with a task of its own.
        seed: >= 0; with `suite` (train, heldout) it decides every draw. The number of threads does not matter.
        duration_s: length of a rollout.
        ranges: what tasks are drawn from.
        progress: called with (rollouts done, rollouts in all).
    """
    if tasks < 1 or seed < 0:
        raise MetaRLError(f"collect: tasks must be >= 1 and seed >= 0; given {tasks} and {seed}")
    steps = round(duration_s / robot.control_period_s)
    drawn: list[Task] = []
    blocks: list[_Arrays] = []
    for start in range(0, tasks, _BLOCK):
        rng = stream(suite, seed, _DATA, start)
        block_tasks = [draw_task(robot, rng, ranges) for _ in range(min(_BLOCK, tasks - start))]
        blocks.append(_simulate_until_valid(robot, block_tasks, rng, steps, threads))
        drawn += block_tasks
        if progress is not None:
            progress(len(drawn), tasks)
    joined = _Arrays(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
    times = np.arange(steps + 1, dtype=np.float64) * robot.control_period_s
    return DataSet(robot.name, times, tasks=tuple(drawn), **joined._asdict())


def _simulate_until_valid(robot: Robot, tasks: list[Task], rng: np.random.Generator, steps: int, threads: int) -> _Arrays:
    """One rollout per task; motions that a task takes beyond the robot's limits are drawn again."""
    result: _Arrays | None = None
    todo = np.arange(len(tasks))
    dynamics = ArmDynamics(robot)
    for _ in range(_ATTEMPTS):
        arrays = _simulate(robot, dynamics, [tasks[i] for i in todo], rng, steps, threads)
        if result is None:
            result = arrays
        for whole, part in zip(result, arrays, strict=True):
            whole[todo] = part
        todo = todo[~_within_limits(robot, arrays)]
        if len(todo) == 0:
            return result
    raise MetaRLError(f"collect: {len(todo)} tasks took '{robot.name}' beyond its limits on {_ATTEMPTS} random motions each")


def _within_limits(robot: Robot, arrays: _Arrays) -> NDArray[np.bool_]:
    inside = (arrays.q > robot.position_lower) & (arrays.q < robot.position_upper) & (np.abs(arrays.v) < robot.velocity_limit)
    return np.asarray(inside.all(axis=(1, 2)))


def _simulate(robot: Robot, dynamics: ArmDynamics, tasks: list[Task], rng: np.random.Generator, steps: int, threads: int) -> _Arrays:
    count, n, period = len(tasks), robot.dof, robot.control_period_s
    times = np.arange(steps + 1, dtype=np.float64) * period
    motions = [_motion(robot, rng, times[-1]).sample(times) for _ in tasks]
    q_ref, v_ref, a_ref = (np.array([getattr(motion, name) for motion in motions]) for name in ("q", "v", "a"))
    bandwidth, damping = rng.uniform(*_BANDWIDTH_RAD_S, (count, 1)), rng.uniform(*_DAMPING, (count, 1))
    start_q, start_v = (error * rng.standard_normal((count, n)) for error in _START_ERROR)
    margin = 0.01
    start = np.clip(q_ref[:, 0] + start_q, robot.position_lower + margin, robot.position_upper - margin)
    plant = BatchPlant(robot, tasks, rng.integers(2**31, size=count).tolist(), threads)
    arrays = _Arrays(*(np.empty((count, steps + (k < 4), n), np.float32) for k in range(5)))
    measured = plant.reset(start, v_ref[:, 0] + start_v)
    for k in range(steps + 1):
        truth = plant.truth
        arrays.q[:, k], arrays.v[:, k], arrays.q_measured[:, k], arrays.v_measured[:, k] = truth.q, truth.v, measured.q, measured.v
        if k == steps:
            break
        feedback = bandwidth**2 * (q_ref[:, k] - measured.q) + 2 * damping * bandwidth * (v_ref[:, k] - measured.v)
        effort = dynamics.inverse_dynamics(measured.q, measured.v, a_ref[:, k] + feedback)
        effort = np.clip(effort, -robot.effort_limit, robot.effort_limit)
        arrays.effort[:, k] = effort
        measured = plant.step(effort)
    return arrays


def _motion(robot: Robot, rng: np.random.Generator, duration_s: float) -> Reference:
    draw = random_tracking if rng.random() < 0.5 else random_excitation
    start = rng.uniform(0.0, _LONGEST_START_S)
    return Shifted(draw(robot, rng, duration_s + _LONGEST_START_S + 1.0), -start)
