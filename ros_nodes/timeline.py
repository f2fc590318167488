# SPDX-License-Identifier: Apache-2.0
"""Physical conditions of a simulated run over time, from a suite's scenario, a file or parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from metarl_robot.core.errors import SignalError, UnknownNameError, one_line, shown
from metarl_robot.core.robot import Robot, named
from metarl_robot.core.yaml_file import read_yaml
from metarl_robot.ros_nodes.parameters import fixed
from metarl_robot.sim.kinds import Simulation, simulation
from metarl_robot.sim.scenario import Task, no_obstacles
from metarl_robot.sim.task_settings import TaskSettings, with_settings
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

Array = NDArray[np.float64]


_FILE_KEYS = {"initial", "changes", "obstacles"}
_TABLE, _DISC = 2, 3  # axes of a table; x, y and radius


class TimelineParameters(BaseModel):
    """Conditions to simulate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str = fixed(
        "", description="evaluation suite to take conditions and start pose from; empty: the nominal robot at home"
    )
    scenario: str = fixed("pickup", description="scenario of the suite")
    motion_file: str = fixed(
        "", description="motion file, at the start of which the robot begins; other names are ignored"
    )
    seed: int = fixed(0, ge=0, le=2**31 - 1, description="seed of the scenario and of the sensors' noise")
    task_file: str = fixed(
        "",
        description="JSON or YAML file with conditions: {initial: task, changes: [{time_s: …, task: …}], "
        "obstacles: [[x, y, radius], …]}",
    )


@dataclass(frozen=True)
class Timeline:
    """Tasks over time.

    changes: (time [s], task from then on), in order. start: (nq,) pose. noise_seed: seed of the sensors' noise.
    obstacles: (K, 3) see Scenario.
    """

    initial: Task
    changes: tuple[tuple[float, Task], ...]
    start: Array
    noise_seed: int
    obstacles: Array = field(default_factory=no_obstacles)


def settings_of(robot: Robot) -> type[TaskSettings]:
    """The settings of tasks of the robot's kind."""
    settings: type[TaskSettings] = named(robot.simulation).task_settings
    return settings


def check_scenario(robot: Robot, suite: str, name: str) -> None:
    """Raise UnknownNameError for a suite, or a scenario of it, that the robot's kind does not have."""
    names = simulation(robot).scenario_names(suite)
    if name not in names:
        raise UnknownNameError(f"scenario of suite '{suite}'", name, names)


def timeline(robot: Robot, wanted: TimelineParameters, settings: TaskSettings) -> Timeline:
    """The conditions given by the parameters, and the kind's own settings on top of them.

    Raises:
        UnknownNameError: no such suite or scenario.
        SignalError: a file is wrong; the message names file and key.
    """
    simulated = simulation(robot)
    base = Timeline(simulated.nominal_task(), (), robot.home.copy(), wanted.seed)
    if wanted.suite:
        drawn = simulated.scenario(wanted.suite, wanted.scenario, wanted.seed)
        start = drawn.reference.sample(np.zeros(1)).q[0]
        base = Timeline(drawn.initial, drawn.changes, start, drawn.noise_seed, drawn.obstacles)
    flat = flat_outputs_of(robot)
    if wanted.motion_file.endswith(flat.motion_files):
        motion = flat.motion(wanted.motion_file, np.random.default_rng(wanted.seed), 1.0)
        base = replace(base, start=motion.sample(np.zeros(1)).q[0])
    if wanted.task_file:
        base = _from_file(simulated, Path(wanted.task_file), base)
    return with_settings(base, settings)


def _obstacles(content: dict[str, Any]) -> Array:
    rows = content.get("obstacles") or []
    if not rows:
        return no_obstacles()
    discs = np.array(rows, dtype=float)
    if discs.ndim != _TABLE or discs.shape[1] != _DISC or not np.isfinite(discs).all():
        raise SignalError(f"'obstacles' must be rows of finite x, y and radius; given: {shown(rows)}")
    return discs


def _from_file(simulated: Simulation, path: Path, base: Timeline) -> Timeline:
    def refused(text: str) -> SignalError:
        return SignalError(f"task file {text}")

    content = read_yaml(path, refused)  # JSON is YAML
    if not isinstance(content, dict) or "initial" not in content or not set(content) <= _FILE_KEYS:
        raise SignalError(
            f"task file {path}: needs the key 'initial' and may have 'changes' and 'obstacles'; given: {shown(content)}"
        )
    changes = content.get("changes") or []
    if not isinstance(changes, list) or any(
        not isinstance(item, dict) or set(item) != {"time_s", "task"} for item in changes
    ):
        raise SignalError(f"task file {path}: 'changes' must be a list of entries with 'time_s' and 'task'")
    try:
        read = simulated.task_from_dict
        pairs = sorted(((float(item["time_s"]), read(item["task"])) for item in changes), key=lambda pair: pair[0])
        return replace(base, initial=read(content["initial"]), changes=tuple(pairs), obstacles=_obstacles(content))
    except SignalError as error:
        raise SignalError(f"task file {path}: {error}") from error
    except (TypeError, ValueError) as error:
        raise SignalError(f"task file {path}: {one_line(error)}") from error
