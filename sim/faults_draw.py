# SPDX-License-Identifier: Apache-2.0
"""Inputs of a random fault: random numbers, the robot and the time window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from metarl_robot.core.robot import Robot

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """Seeded random numbers, the robot and the window [start_s, end_s) of the fault."""

    robot: Robot
    rng: np.random.Generator
    start_s: float
    end_s: float

    def during(self, time_s: float) -> bool:
        """Whether the fault is active at a true time."""
        return self.start_s <= time_s < self.end_s

    def number(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return float(self.rng.uniform(low, high))

    def magnitude(self, low: float, high: float) -> float:
        """Log-uniform in [low, high)."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[T]) -> T:
        """Pick one option, all equally likely."""
        return options[int(self.rng.integers(len(options)))]
