# SPDX-License-Identifier: Apache-2.0
"""Demo of a ground vehicle: dry asphalt turns wet, then gravel; later a load is put on. Two obstacles block the line.

The pace is such that the worst ground allows the reference's accelerations.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path import Path
from metarl_robot.sim.demo import SUITE, Change, Demo, Simulated, with_sensors
from metarl_robot.sim.demo_settings import DemoSettings
from metarl_robot.sim.ground.layouts import placed
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

Array = NDArray[np.float64]

_MOTION, _LENGTH_S = "figure_eight", 20.0
_WET_S, _GRAVEL_S, _LOAD_S = 5.0, 10.0, 15.0
_WET = {"friction": 0.55, "stiffness_scale": 0.9}
_GRAVEL = {"friction": 0.6, "stiffness_scale": 0.6, "rolling_resistance": 0.06}
_LOAD_SHARE = 0.3
"""Mass of the load, as a share of the vehicle's; it is on top, behind the centre of mass."""
_OBSTACLES = ((0.3, 0.3), (0.8, -0.3))
"""Share of the lap, and offset from the line in widths of the vehicle, of each obstacle."""
_RADIUS = 0.5
"""Radius of an obstacle, in widths of the vehicle."""
_MOST_USE, _CALMER, _LEAST_PACE = 0.85, 0.97, 0.2


def ground_demo(simulated: Simulated, seed: int, settings: DemoSettings) -> Demo:
    """See metarl_robot.sim.kinds.Simulation.demo."""
    robot = simulated.robot
    before = with_sensors(simulated.nominal_task(), simulated.scenario(SUITE, "surface", seed).initial)
    wet = replace(before, **_WET)
    gravel = replace(before, **_GRAVEL)
    length, _, height = robot.description.size_m
    place = np.array([-0.2 * length, 0.0, 0.5 * height])
    loaded = replace(gravel, payload_mass_kg=_LOAD_SHARE * robot.mass_kg, payload_position_m=place)
    flat = flat_outputs_of(robot)
    course, pace = flat.motion(_MOTION, np.random.default_rng(seed), _LENGTH_S), 1.0
    while (
        pace > _LEAST_PACE
        and max(simulated.effort_use(task, flat.paced(course, pace), 0.0, _LENGTH_S) for task in (wet, gravel))
        > _MOST_USE
    ):
        pace *= _CALMER
    changes = (
        Change(_WET_S, wet, "the ground turns wet"),
        Change(_GRAVEL_S, gravel, "the ground turns into gravel"),
        Change(_LOAD_S, loaded, "a load is put on"),
    )
    arguments = {"reference": _MOTION, "seed": str(seed)}
    obstacles = _obstacles(robot, getattr(courses, _MOTION)(robot))
    return Demo(before, changes, seed, "ground", arguments, (6.5, _LENGTH_S, _LENGTH_S), pace, obstacles=obstacles)


def _obstacles(robot: Ground, path: Path) -> Array:
    width_m = robot.description.size_m[1]
    discs = [(share * path.length_m, offset, _RADIUS) for share, offset in _OBSTACLES]
    return placed(path, np.array(discs), width_m)
