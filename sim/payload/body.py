# SPDX-License-Identifier: Apache-2.0
"""A rigid payload."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.sim.inertia import entries, symmetric
from metarl_robot.sim.task_fields import finite_vector

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Payload:
    """A rigid body at the payload site, in that site's frame.

    mass_kg: 0 means no payload. com_m: (3,) centre of mass. inertia_kg_m2: (6,) xx yy zz xy xz yz about the centre of
    mass.
    """

    mass_kg: float = 0.0
    com_m: Array = (0.0, 0.0, 0.0)  # type: ignore[assignment]
    inertia_kg_m2: Array = (0.0,) * 6  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "com_m", finite_vector("payload com_m", self.com_m, 3))
        object.__setattr__(self, "inertia_kg_m2", finite_vector("payload inertia_kg_m2", self.inertia_kg_m2, 6))
        if not (np.isfinite(self.mass_kg) and self.mass_kg >= 0.0):
            raise SignalError(f"task: payload mass_kg must be finite and >= 0; given {self.mass_kg}")
        principal = np.linalg.eigvalsh(symmetric(self.inertia_kg_m2))
        if principal[0] < -1e-12 or principal[2] > principal[0] + principal[1] + 1e-12:
            raise SignalError(
                f"task: payload inertia_kg_m2 is impossible for a rigid body: principal moments {principal.tolist()} "
                "kg m^2"
            )

    def inertial_parameters(self) -> Array:
        """Inertial parameters (10,), in which forces are linear.

        Mass, mass * com (3,), inertia about the frame's origin (6,) xx yy zz xy xz yz.
        """
        c = self.com_m
        about_origin = symmetric(self.inertia_kg_m2) + self.mass_kg * (c @ c * np.eye(3) - np.outer(c, c))
        return np.concatenate([[self.mass_kg], self.mass_kg * c, entries(about_origin)])


def compact(mass_kg: float, com_m: ArrayLike = (0.0, 0.0, 0.0)) -> Payload:
    """A sphere with a radius of about 5 cm. com_m: (3,)."""
    moment = mass_kg * 1e-3
    return Payload(mass_kg, np.array(com_m, float), np.array([moment, moment, moment, 0.0, 0.0, 0.0]))


def draw_box(
    rng: np.random.Generator, mass_kg: float, com_m: tuple[float, float], side_m: tuple[float, float], outward: Array
) -> Payload:
    """Draw a box of random size, place and orientation.

    com_m: lowest and highest distance of its centre from the payload site, in a direction up to 90 degrees from
    `outward` (3,). side_m: shortest and longest side.
    """
    direction = rng.normal(size=3)
    direction *= np.sign(direction @ outward) / np.linalg.norm(direction)
    squares = rng.uniform(*side_m, 3) ** 2
    principal = mass_kg * (squares.sum() - squares) / 12.0
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Payload(mass_kg, rng.uniform(*com_m) * direction, entries(rotation @ np.diag(principal) @ rotation.T))
