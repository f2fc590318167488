# SPDX-License-Identifier: Apache-2.0
"""Closed-loop evaluation of controllers on every run of a suite, in several processes, with a summary.

Apart from times, results depend only on robot, suite, seeds and controllers. Each run starts from its own seeds and a
reset controller, so the number of processes does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from metarl_robot.control.base import Controller
from metarl_robot.control.factory import controller_names, load_config, make_controller
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.parallel.engine import Engine
from metarl_robot.parallel.processes import Processes
from metarl_robot.sim.episode import Episode, run_episode
from metarl_robot.sim.episode_scores import EpisodeResult
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.settling import ORACLE
from metarl_robot.sim.task_settings import TaskSettings, with_settings

Progress = Callable[[int, int, EpisodeResult], None]

_LABELS = ("controller", "scenario", "seed")
_NEVER = float("inf")  # score of a run that never got there


@dataclass(frozen=True)
class Evaluation:
    """All episodes of one evaluation, in the order scenario by scenario, controller by controller.

    settings: of the conditions, by name.
    """

    robot: str
    suite: str
    episodes: tuple[EpisodeResult, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Summarise each controller: the median of every score, and the 90th percentile and worst of rmse_after_m.

        Errors of estimates: median of their magnitude. crashed: number of episodes with a crash. settle_s: a run that
        never settles counts as longer than any other; the median is None if at least half of the runs never settle.
        Scores that no episode has are None.
        """
        return {
            name: self._summary_of([e for e in self.episodes if e.controller == name]) for name in self._controllers()
        }

    def _controllers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(episode.controller for episode in self.episodes))

    @staticmethod
    def _summary_of(episodes: Sequence[EpisodeResult]) -> dict[str, float | None]:
        row: dict[str, float | None] = {}
        rows = [episode.to_dict() for episode in episodes]
        for name in (name for name in rows[0] if name not in _LABELS):
            values = [each[name] for each in rows]
            signed = name in episodes[0].estimates
            row[name] = _median([abs(x) for x in values if x is not None] if signed else values, name == "settle_s")
        row["crashed"] = float(sum(episode.crashed for episode in episodes))
        after = [episode.rmse_after_m for episode in episodes]
        row["rmse_after_m_p90"], row["rmse_after_m_worst"] = float(np.percentile(after, 90)), max(after)
        return row

    def to_json(self) -> dict[str, Any]:
        """{"robot", "suite", "settings", "episodes": [row], "summary": {controller: row}}: numbers, strings, None."""
        return {
            "robot": self.robot,
            "suite": self.suite,
            "settings": dict(self.settings),
            "episodes": [episode.to_dict() for episode in self.episodes],
            "summary": self.summary(),
        }


def _median(values: Sequence[float | None], none_is_never: bool) -> float | None:
    if none_is_never:
        numbers = [_NEVER if value is None else value for value in values]
    else:
        numbers = [value for value in values if value is not None]
    median = float(np.median(numbers)) if numbers else _NEVER
    return median if np.isfinite(median) else None


@dataclass(frozen=True)
class _Job:
    """One episode, as plain data for another process."""

    robot: Path
    suite: str
    kind: str
    seed: int
    controller: str
    overrides: tuple[tuple[str, Any], ...]
    checkpoint: Path | None
    settings: TaskSettings = TaskSettings()


def evaluate(
    robot: Robot,
    suite: str,
    controllers: Sequence[str],
    seeds: Iterable[int],
    jobs: int = 1,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    engine: Engine | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Run `controllers` on every scenario of `suite` for every seed.

    Arguments:
        jobs: number of processes; 1 runs in this process.
        progress: called after each episode with (episodes done, episodes in all, its result).
        checkpoint: trained weights for the learned controllers; default: those shipped with the robot.
        overrides: controller -> {configuration key: value}.
        engine: where episodes run; default: in `jobs` processes of this machine.
        settings: of the conditions, by name (Simulation.task_settings).

    Raises:
        UnknownNameError, ConfigError, CheckpointError: before anything runs.
        MetaRLError: no controllers or seeds, jobs < 1, or wrong settings.
    """
    seeds = tuple(seeds)
    if not controllers or not seeds or jobs < 1:
        raise MetaRLError(
            f"evaluate: needs controllers, seeds and jobs >= 1; given {list(controllers)}, {list(seeds)}, {jobs}"
        )
    for name in controllers:
        if name not in controller_names(robot.kind):
            raise UnknownNameError("controller", name, controller_names(robot.kind))
        load_config(robot, name, (overrides or {}).get(name))
    conditions = simulation(robot).task_settings.of(settings or {})
    changed = {name: tuple((overrides or {}).get(name, {}).items()) for name in controllers}
    work = [
        _Job(robot.folder, suite, kind, seed, name, changed[name], checkpoint, conditions)
        for seed in seeds
        for kind in simulation(robot).scenario_names(suite)
        for name in dict.fromkeys(controllers)
    ]
    results: dict[int, EpisodeResult] = {}
    for index, result in (engine or Processes(jobs)).run_all(_result, work):
        results[index] = result
        if progress is not None:
            progress(len(results), len(work), result)
    episodes = tuple(results[index] for index in range(len(work)))
    set_values = conditions.model_dump(mode="json", exclude_defaults=True)
    return Evaluation(robot.name, suite, _settled(episodes, simulation(robot).settled_m), set_values)


def _settled(episodes: Sequence[EpisodeResult], floor_m: float) -> tuple[EpisodeResult, ...]:
    """The results with settle_s judged by the oracle's error in the same run, where the oracle took part."""
    oracle = {(e.scenario, e.seed): e.rmse_after_m for e in episodes if e.controller == ORACLE and not e.crashed}
    return tuple(e.settled_beside(oracle.get((e.scenario, e.seed)), floor_m) for e in episodes)


def run_one(
    robot: Robot,
    suite: str,
    kind: str,
    seed: int,
    controller: str,
    checkpoint: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Episode:
    """Run one episode of a suite in this process and return it with its log; see `evaluate`."""
    conditions = simulation(robot).task_settings.of(settings or {})
    changed = tuple((overrides or {}).items())
    return _episode(_Job(robot.folder, suite, kind, seed, controller, changed, checkpoint, conditions))


def _result(job: _Job) -> EpisodeResult:
    return _episode(job).result


def _episode(job: _Job) -> Episode:
    robot = _robot(job.robot)
    controller = _controller(job.robot, job.controller, job.overrides, job.checkpoint)
    scenario = with_settings(simulation(robot).scenario(job.suite, job.kind, job.seed), job.settings)
    return run_episode(robot, lambda _: controller, scenario, job.controller)


@lru_cache(maxsize=4)
def _robot(folder: Path) -> Robot:
    return load_robot(folder)


@lru_cache(maxsize=16)
def _controller(folder: Path, name: str, overrides: tuple[tuple[str, Any], ...], checkpoint: Path | None) -> Controller:
    """Build a controller once in each process; every episode resets it."""
    robot = _robot(folder)
    return make_controller(robot, name, load_config(robot, name, dict(overrides)), checkpoint, _oracle(robot, name))


def _oracle(robot: Robot, name: str) -> Any:
    """The oracle's factory, for the one controller that knows the true physics."""
    return simulation(robot).make_oracle if name == ORACLE else None
