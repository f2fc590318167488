# SPDX-License-Identifier: Apache-2.0
"""Training data of any kind of robot: many tasks simulated at once on random motions.

A data-collection controller with detuned gains drives the robot. The task is constant in each rollout. A rollout that
exceeds the robot's limits is redrawn; after ten attempts its task is redrawn as well. Parts specific to a kind
(its rollout maker) come through metarl_robot.sim.kinds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.atomic import whole_file
from metarl_robot.core.errors import MetaRLError, one_line
from metarl_robot.core.robot import Robot
from metarl_robot.parallel.engine import Engine
from metarl_robot.parallel.processes import Processes
from metarl_robot.sim.kinds import RolloutArrays, RolloutMaker, simulation, task_from_dict
from metarl_robot.sim.suite_table import stream

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

_BLOCK = 500  # tasks simulated at once: bounds the memory and paces the progress calls
_DATA = 1000  # second word of the entropy: no scenario kind has this index
_ATTEMPTS = 20
_ARRAYS = (
    "times",
    "q",
    "v",
    "q_measured",
    "v_measured",
    "effort",
    "acting",
    "specific_force",
    "specific_force_measured",
)


@dataclass(frozen=True, eq=False)
class DataSet:
    """T rollouts of S control steps.

    times: (S + 1,) [s]. q (T, S + 1, nq), v (T, S + 1, dof): true state. q_measured, v_measured: measurements available
    at these times. effort: (T, S, nu) commanded from times[k] to times[k + 1]. tasks: T tasks. Where the kind
    simulates them, else None: acting: (T, S, nu) mean effort of the actuators over the step; specific_force,
    specific_force_measured: (T, S + 1, 3) mean over the preceding control period [m/s²; body].
    """

    robot: str
    times: Array
    q: Array32
    v: Array32
    q_measured: Array32
    v_measured: Array32
    effort: Array32
    tasks: tuple[Any, ...]
    kind: str
    acting: Array32 | None = None
    specific_force: Array32 | None = None
    specific_force_measured: Array32 | None = None

    def sha256(self) -> str:
        """Hash of the contents."""
        digest = hashlib.sha256(json.dumps([self.robot, [task.to_dict() for task in self.tasks]]).encode())
        for name, values in self._arrays().items():
            array = np.ascontiguousarray(values)
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write an npz without pickles, atomically."""
        tasks = json.dumps([task.to_dict() for task in self.tasks])
        with whole_file(path) as file:
            np.savez(file, robot=self.robot, kind=self.kind, tasks=tasks, **self._arrays())

    def _arrays(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def load(cls, path: Path) -> DataSet:
        """Read a file written by `save`.

        Raises:
            MetaRLError: the file is missing, damaged or not a data set.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                kind = str(file["kind"])
                arrays = {name: file[name] for name in _ARRAYS if name in file}
                tasks = tuple(task_from_dict(kind, task) for task in json.loads(str(file["tasks"])))
                return cls(str(file["robot"]), kind=kind, tasks=tasks, **arrays)
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, RecursionError) as error:
            raise MetaRLError(f"{path}: not a data set of this project: {one_line(error)}") from error


def collect(
    robot: Robot,
    tasks: int,
    seed: int,
    suite: str = "train",
    duration_s: float = 1.5,
    ranges: Any = None,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
    engine: Engine | None = None,
) -> DataSet:
    """Simulate random tasks on random motions.

    Arguments:
        tasks: number of rollouts, each with its own task.
        seed: >= 0; with `suite` (train, heldout) it determines every draw, for any number of threads.
        duration_s: length of a rollout.
        ranges: ranges of the tasks (the kind's own type); default: those of training.
        progress: called with (rollouts done, rollouts in all).
        engine: computes blocks of 500 tasks side by side, each on one thread; default: one after another, here.
    """
    if tasks < 1 or seed < 0:
        raise MetaRLError(f"collect: tasks must be >= 1 and seed >= 0; given {tasks} and {seed}")
    steps = round(duration_s / robot.control_period_s)
    starts = range(0, tasks, _BLOCK)
    sizes = [min(_BLOCK, tasks - start) for start in starts]
    work = [
        _Block(robot, suite, seed, start, size, steps, ranges, threads if engine is None else 1)
        for start, size in zip(starts, sizes, strict=True)
    ]
    found: dict[int, tuple[list[Any], RolloutArrays]] = {}
    for index, block in (engine or Processes()).run_all(_simulated, work):
        found[index] = block
        if progress is not None:
            progress(sum(sizes[index] for index in found), tasks)
    drawn, blocks = zip(*(found[index] for index in range(len(work))), strict=True)
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    times = np.arange(steps + 1, dtype=np.float64) * robot.control_period_s
    return DataSet(robot.name, times, tasks=tuple(chain.from_iterable(drawn)), kind=robot.kind, **joined)


@dataclass(frozen=True)
class _Block:
    """Tasks that are simulated at once, with random numbers of their own. start: index of the first task."""

    robot: Robot
    suite: str
    seed: int
    start: int
    size: int
    steps: int
    ranges: Any
    threads: int


def _simulated(block: _Block) -> tuple[list[Any], RolloutArrays]:
    """(tasks, rollouts) of a block."""
    maker = _maker(block.robot)
    rng = stream(block.suite, block.seed, _DATA, block.start)
    tasks = [maker.draw_task(rng, block.ranges) for _ in range(block.size)]
    arrays = _simulate_until_valid(block.robot, maker, tasks, rng, block.steps, block.threads, block.ranges)
    return tasks, arrays


@lru_cache(maxsize=1)
def _maker(robot: Robot) -> RolloutMaker:
    """Make a robot's maker once for all blocks of this process."""
    return simulation(robot).rollout_maker()


def _simulate_until_valid(
    robot: Robot, maker: RolloutMaker, tasks: list[Any], rng: np.random.Generator, steps: int, threads: int, ranges: Any
) -> RolloutArrays:
    """Simulate one rollout per task; redraw motions that exceed the robot's limits, later also the tasks."""
    result: RolloutArrays | None = None
    todo = np.arange(len(tasks))
    for attempt in range(_ATTEMPTS):
        if attempt >= _ATTEMPTS // 2:
            for i in todo:
                tasks[i] = maker.draw_task(rng, ranges)
        arrays, valid = maker.simulate([tasks[i] for i in todo], rng, steps, threads)
        if result is None:
            result = arrays
        for name, part in arrays.items():
            result[name][todo] = part
        todo = todo[~valid]
        if len(todo) == 0:
            return result
    raise MetaRLError(
        f"collect: {len(todo)} tasks took '{robot.name}' beyond its limits on {_ATTEMPTS} random motions each"
    )
