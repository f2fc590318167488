# SPDX-License-Identifier: Apache-2.0
"""Errors of a nominal model beside payload and plain friction: wrong links, friction laws, torque ripple.

Friction of a joint at velocity v under the motor torque τ, after Armstrong-Hélouvry, Dupont, Canudas de Wit, "A survey
of models, analysis tools and compensation methods for the control of machines with friction", Automatica 1994:

    F(v, τ) = F_c + F_s exp(-(v / v_s)²) + μ |τ|    against the motion, with F_c of the task (coulomb_nm)

Torque ripple depends on the joint's angle q (cogging, teeth): A sin(c q + φ).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.sim.task_fields import finite_vector

Array = NDArray[np.float64]

_SLOWEST_RAD_S = 1e-3


def _checked(task: Any, name: str, least: float) -> None:
    """Freeze a dataclass's vectors of one number per joint. Raises SignalError."""
    size = None
    for field in fields(task):
        vector = finite_vector(f"{name} {field.name}", getattr(task, field.name), size)
        size = len(vector)
        if np.any(vector < least):
            raise SignalError(f"task: {name} {field.name} must be >= {least:g}; given {vector.tolist()}")
        object.__setattr__(task, field.name, vector)


@dataclass(frozen=True, eq=False)
class LinkErrors:
    """True values over the nominal model's, (n,) each: of the body that a joint moves, and of the joint's armature.

    mass, inertia (about the centre of mass), centre (its place in the link's frame), armature.
    """

    mass: Array
    centre: Array
    inertia: Array
    armature: Array

    def __post_init__(self) -> None:
        _checked(self, "links", 0.0)


@dataclass(frozen=True, eq=False)
class FrictionLaw:
    """F_s [Nm], v_s [rad/s] and μ, (n,) each; see the module's docstring."""

    stribeck_nm: Array
    stribeck_rad_s: Array
    load_share: Array

    def __post_init__(self) -> None:
        _checked(self, "friction_law", 0.0)
        if np.any(self.stribeck_rad_s < _SLOWEST_RAD_S):
            raise SignalError(f"task: friction_law stribeck_rad_s must be >= {_SLOWEST_RAD_S}")


@dataclass(frozen=True, eq=False)
class Ripple:
    """A [Nm], c [1] and φ [rad], (n,) each; see the module's docstring."""

    amplitude_nm: Array
    cycles: Array
    phase_rad: Array

    def __post_init__(self) -> None:
        _checked(self, "ripple", 0.0)


class JointLaws:
    """Friction and ripple of arms in one physics step; see euclidean_model.StepLaw.

    tasks: of one arm each.
    """

    def __init__(self, tasks: Sequence[Any]) -> None:
        n = len(tasks[0].coulomb_nm)
        still = FrictionLaw(np.zeros(n), np.ones(n), np.zeros(n)), Ripple(np.zeros(n), np.zeros(n), np.zeros(n))
        laws = [still[0] if task.friction_law is None else task.friction_law for task in tasks]
        ripples = [still[1] if task.ripple is None else task.ripple for task in tasks]
        self._coulomb, self._strength = (
            np.array([getattr(task, name) for task in tasks]) for name in ("coulomb_nm", "motor_strength")
        )
        self._extra, self._speed, self._share = (
            np.array([getattr(law, field.name) for law in laws]) for field in fields(FrictionLaw)
        )
        self._amplitude, self._cycles, self._phase = (
            np.array([getattr(ripple, field.name) for ripple in ripples]) for field in fields(Ripple)
        )

    def friction(self, v: Array, effort: Array) -> Array:
        stribeck = self._extra * np.exp(-np.square(v / self._speed))
        return np.asarray(self._coulomb + stribeck + self._share * np.abs(self._strength * effort))

    def force(self, q: Array) -> Array:
        return np.asarray(self._amplitude * np.sin(self._cycles * q + self._phase))


def joint_laws(tasks: Sequence[Any]) -> JointLaws | None:
    """The laws of these tasks; None if they have none, so that no step needs them."""
    return JointLaws(tasks) if any(task.friction_law or task.ripple for task in tasks) else None


def draw_links(robot: Robot, rng: np.random.Generator, error: float) -> LinkErrors:
    """Draw links that are wrong by up to ± error."""
    return LinkErrors(*rng.uniform(1.0 - error, 1.0 + error, (4, robot.dof)))


def draw_friction_law(
    rng: np.random.Generator,
    coulomb_nm: Array,
    stribeck: tuple[float, float],
    stribeck_rad_s: tuple[float, float],
    load_share: tuple[float, float],
) -> FrictionLaw:
    """Draw a friction law. stribeck: F_s over F_c."""
    n = len(coulomb_nm)
    return FrictionLaw(
        rng.uniform(*stribeck, n) * coulomb_nm, rng.uniform(*stribeck_rad_s, n), rng.uniform(*load_share, n)
    )


def draw_ripple(robot: Robot, rng: np.random.Generator, ratio: tuple[float, float], most_cycles: int) -> Ripple:
    """Draw a ripple. ratio: A over the effort limit."""
    amplitude = rng.uniform(*ratio, robot.dof) * robot.effort_limit
    cycles = rng.integers(1, most_cycles + 1, robot.dof).astype(float)
    return Ripple(amplitude, cycles, rng.uniform(0.0, 2.0 * np.pi, robot.dof))
