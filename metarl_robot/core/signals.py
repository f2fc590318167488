# SPDX-License-Identifier: Apache-2.0
"""Signals of the control loop: states, references, commands and their status.

A kind of robot names the coordinates of q, of v and of a command (core/coordinates.py). Of joints, q and v are
positions [rad] and velocities [rad/s] in their order, and a command is an effort [Nm] for each. Of a base with an
attitude, q is position [m; world] and attitude (qw, qx, qy, qz) [body→world], v is linear velocity [m/s; world] and
angular velocity [rad/s; body], and a command holds the actuators' outputs, such as thrusts [N].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.external_force import ExternalForce

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """A measured state: q (nq,), v (nv,).

    specific_force: mean since the last state, (3,) [m/s²]; None without an accelerometer.
    """

    q: Array
    v: Array
    specific_force: Array | None = None


@dataclass(frozen=True)
class Inertial:
    """An IMU measurement.

    specific_force: (3,) [m/s²; body]. rate: (3,) [rad/s; body].
    attitude: (4,) [wxyz; body to any frame whose z is up]; None if the IMU measures none.
    """

    specific_force: Array
    rate: Array
    attitude: Array | None = None


@dataclass(frozen=True)
class Setpoints:
    """A reference sampled at N times: q (N, nq), v (N, nv), a (N, nv)."""

    q: Array
    v: Array
    a: Array


class Constraint(Protocol):
    """A region in which the motion must stay: outside an obstacle, between the edges of a course."""

    def distance(self, positions: Array) -> tuple[Array, Array]:
        """Signed distances (N,) [m] of positions (N, 3) [m; world], ≥ 0 where allowed, and their gradients (N, 3)."""
        ...


class Reference(Protocol):
    """A trajectory that can be sampled at any time.

    It may have an attribute `constraints`, a tuple of Constraint; read it with `constraints_of`.
    """

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at absolute times (N,) [s], on the clock of `Controller.step`."""
        ...


def constraints_of(reference: Reference) -> tuple[Constraint, ...]:
    """The constraints that a reference carries; empty if it has none."""
    found: tuple[Constraint, ...] = getattr(reference, "constraints", ())
    return found


@dataclass(frozen=True)
class Context:
    """An adapter's estimate of the task.

    names: (n_z,) labels, with units; mean, std: (n_z,) posterior marginals.
    """

    names: tuple[str, ...]
    mean: Array
    std: Array

    def __getitem__(self, name: str) -> tuple[float, float]:
        """(mean, std) of one entry. Raises KeyError for an unknown name."""
        try:
            i = self.names.index(name)
        except ValueError:
            raise KeyError(name) from None
        return float(self.mean[i]), float(self.std[i])


EMPTY_CONTEXT = Context(names=(), mean=np.zeros(0), std=np.zeros(0))


@dataclass(frozen=True)
class Plan:
    """The controller's plan: times (N,) absolute [s], q (N, nq), v (N, nv), effort (N, nu)."""

    times: Array
    q: Array
    v: Array
    effort: Array


class Status(Enum):
    """Origin of a command."""

    SOLVED = "solved"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True)
class Command:
    """One command: effort (nu,), finite and within the robot's limits for every status.

    status: SOLVED, DEGRADED (limits relaxed, or the last plan is followed) or FAILED (braking).
    message: the reason for a status other than SOLVED.
    external: external force as the controller's adapter estimates it; None: no estimate.
    target: (1, …) the point of the path that a path-following controller aims at; None: the reference's at that time.
    """

    effort: Array
    status: Status = Status.SOLVED
    message: str = ""
    plan: Plan | None = None
    context: Context = field(default=EMPTY_CONTEXT)
    external: ExternalForce | None = None
    target: Setpoints | None = None
