# SPDX-License-Identifier: Apache-2.0
"""Named and random courses, as paths on the ground [m]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path import Path

Array = NDArray[np.float64]

_POINTS = 24


def size_m(robot: Ground) -> float:
    """Scale of the courses: ten wheelbases."""
    return 10.0 * robot.wheelbase_m


def _ring(size: float, x: Callable[[Array], Array], y: Callable[[Array], Array]) -> Path:
    turn = np.linspace(0.0, 2.0 * np.pi, _POINTS, endpoint=False)
    return Path(size * np.column_stack([x(turn), y(turn)]), closed=True)


def oval(robot: Ground) -> Path:
    """An ellipse with half axes of 1.5 and 0.8 sizes."""
    return _ring(size_m(robot), lambda turn: 1.5 * np.sin(turn), lambda turn: 0.8 * (1.0 - np.cos(turn)))


def circle(robot: Ground) -> Path:
    """A circle with a radius of one size."""
    return _ring(size_m(robot), np.sin, lambda turn: 1.0 - np.cos(turn))


def figure_eight(robot: Ground) -> Path:
    """Gerono's lemniscate, four sizes long."""
    return _ring(size_m(robot), lambda turn: 2.0 * np.sin(turn), lambda turn: np.sin(turn) * np.cos(turn))


def slalom(robot: Ground) -> Path:
    """Six swings about a line, each one size long and 0.15 sizes wide."""
    x = np.linspace(0.0, 8.0, 33)
    y = 0.15 * np.sin(np.pi * np.clip(x - 1.0, 0.0, 6.0))
    return Path(size_m(robot) * np.column_stack([x, y]))


def lane_change(robot: Ground) -> Path:
    """A double lane change: aside by 0.3 sizes within two sizes, and back."""
    x = np.linspace(0.0, 8.0, 33)
    y = 0.15 * (np.tanh(2.5 * (x - 2.75)) - np.tanh(2.5 * (x - 6.0)))
    return Path(size_m(robot) * np.column_stack([x, y]))


def raceway(robot: Ground, rng: np.random.Generator) -> Path:
    """A random closed course: a ring with three harmonics of random size and phase."""
    size, turn = size_m(robot), np.linspace(0.0, 2.0 * np.pi, _POINTS, endpoint=False)
    harmonics = np.arange(2, 5)
    amplitude, phase = rng.uniform(0.0, 0.3, 3) / harmonics, rng.uniform(0.0, 2.0 * np.pi, 3)
    radius = 1.3 * (1.0 + (amplitude * np.cos(np.outer(turn, harmonics) + phase)).sum(axis=1))
    points = size * radius[:, None] * np.column_stack([np.sin(turn), -np.cos(turn)])
    return Path(points - points[0], closed=True)
