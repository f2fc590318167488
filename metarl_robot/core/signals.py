# SPDX-License-Identifier: Apache-2.0
"""What flows around the control loop: state in, command out, with status as data.

For an arm q and v are joint positions [rad] and velocities [rad/s] in joint order, and a command is a joint effort
[Nm]. For a floating base q is position [m; world] and attitude (qw, qx, qy, qz) [body→world], v is linear [m/s; world]
and angular velocity [rad/s; body], and a command is what its actuators give, a quadrotor's rotor thrusts [N].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """A measured state: q (nq,), v (nv,); specific_force (3,) where there is an accelerometer, its mean since the last
    state [m/s²].
    """

    q: Array
    v: Array
    specific_force: Array | None = None


@dataclass(frozen=True)
class Setpoints:
    """A reference sampled at N times: q (N, nq), v (N, nv), a (N, nv)."""

    q: Array
    v: Array
    a: Array


class Reference(Protocol):
    """A trajectory that can be sampled at any time."""

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at absolute times (N,) [s], the clock of `Controller.step`."""
        ...


@dataclass(frozen=True)
class Context:
    """What an adapter believes about the task at hand.

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
    """What the controller intends: times (N,) absolute [s], q (N, nq), v (N, nv), effort (N, nu)."""

    times: Array
    q: Array
    v: Array
    effort: Array


class Status(Enum):
    """How a command came about."""

    SOLVED = "solved"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True)
class Command:
    """One command: effort (nu,), finite and within the robot's limits whatever the status.

    status: SOLVED, DEGRADED (limits relaxed, or the last plan is followed) or FAILED (braking).
    message: why, when not SOLVED.
    """

    effort: Array
    status: Status = Status.SOLVED
    message: str = ""
    plan: Plan | None = None
    context: Context = field(default=EMPTY_CONTEXT)
