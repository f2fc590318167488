# SPDX-License-Identifier: Apache-2.0
"""The result of checking a robot: what its controllers assume beside what MuJoCo does, and a short run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot, named

Array = NDArray[np.float64]

CONTROLLER = "nominal_mpc"
"""The controller of the run."""
DYNAMICS_BOUND = 1e-6
"""Largest difference of mass matrix or bias force, relative to the largest entry."""


@dataclass(frozen=True)
class JointRow:
    """One joint. Pairs: assumed by the controllers, and as MuJoCo acts. Units of the joint.

    weight_share: effort that holds the arm at home, as a share of the limit.
    """

    name: str
    gain: tuple[float, float]
    effort: tuple[float, float]
    position: tuple[tuple[float, float], tuple[float, float]]
    armature: float
    damping: float
    stiffness: float
    velocity: float
    weight_share: float


@dataclass(frozen=True)
class RotorRow:
    """One rotor: its hub [m; body], axis [body] and direction of rotation, range and hover thrust [N].

    spare: whether the robot still hovers under control without it.
    """

    name: str
    place: tuple[float, ...]
    axis: tuple[float, ...]
    spin: str
    range: tuple[float, float]
    hover: float
    spare: bool


@dataclass(frozen=True, eq=False)
class Motion:
    """The robot at home and the short run, to be drawn [m; world].

    joints, axes: (J, 3) places and unit axes at home. tip: (3,) the tracked point at home. path: (K, 3) of it in the
    run. time_s, error_m: (K,) of the run. chain: whether the joints are a chain that ends at the tip.
    """

    joints: Array
    axes: Array
    tip: Array
    path: Array
    time_s: Array
    error_m: Array
    chain: bool = True


@dataclass(frozen=True)
class Check:
    """rows: of the joints or rotors. mass_difference, bias_difference (and of the
    rotors' wrenches): relative. rmse_m: of the run; bound_m: allowed.

    limits_broken: physics steps beyond a limit. failed_steps: commands with status FAILED. warnings: sentences. motion:
    for a figure.
    """

    rows: tuple[JointRow | RotorRow, ...]
    mass_difference: float
    bias_difference: float
    rmse_m: float
    bound_m: float
    limits_broken: int
    failed_steps: int
    warnings: tuple[str, ...]
    motion: Motion | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        """Reasons why the robot does not pass, as sentences; empty: it passes."""
        found = []
        if not max(self.mass_difference, self.bias_difference) <= DYNAMICS_BOUND:
            found.append(f"the nominal dynamics differ from MuJoCo's by more than {DYNAMICS_BOUND:g}")
        if not self.rmse_m <= self.bound_m:
            found.append(f"{CONTROLLER} tracks to {1e3 * self.rmse_m:.3g} mm; allowed: {1e3 * self.bound_m:.3g} mm")
        if self.failed_steps or self.limits_broken:
            found.append(f"{self.failed_steps} commands failed, {self.limits_broken} steps were beyond a limit")
        return tuple(found)


def check_robot(robot: Robot) -> Check:
    """Check a robot by its kind's own check. Raises MetaRLError."""
    if not robot.checker:
        raise MetaRLError(f"robots of kind '{robot.kind}' have no check; '{robot.name}' is one")
    found: Check = named(robot.checker)(robot)
    return found
