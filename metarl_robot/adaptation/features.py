# SPDX-License-Identifier: Apache-2.0
"""Features in which the residual is linear: Δ(ξ; z) = Φ(ξ) z, ξ = (q, v, a, τ).

Φ consists of groups of columns. This module holds the parts shared by all kinds of robots. A group is one file,
robots/<kind>/features/<group>.py, registered by a FeatureSpec (feature_spec.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.momentum_balance import Balance
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class Xi:
    """Points at which a residual is evaluated.

    q: (N, nq). v, a: (N, n). effort: (N, nu). past_effort: (2, N, nu) the two commands before each.
    """

    q: Array
    v: Array
    a: Array
    effort: Array
    past_effort: Array


class Interval(NamedTuple):
    """The interval between two samples: from (q_0, v_0) to the velocity v_1 (n,).

    effort: (nu,) held during it. past_effort: (2, nu) the two commands before. balance: momentum balance over it.
    """

    q_0: Array
    v_0: Array
    v_1: Array
    effort: Array
    past_effort: Array
    dt: float
    balance: Balance

    @property
    def middle(self) -> Xi:
        """Mid-interval ξ, with the mean acceleration."""
        q, v, a = self.balance.q_mean, self.balance.v_mean, (self.v_1 - self.v_0) / self.dt
        return Xi(q[None], v[None], a[None], self.effort[None], self.past_effort[:, None])


class Series(NamedTuple):
    """T series of S intervals of length dt: samples q (T, S + 1, nq), v (T, S + 1, n).

    middle: mid-interval ξ of all T·S intervals, with mean accelerations.
    """

    q: Array
    v: Array
    dt: float
    middle: Xi


class Entry(NamedTuple):
    """One context entry; see FeatureGroup. pool: entries of one pool have a common scale in an isotropic prior."""

    name: str
    pool: str
    removable: bool
    nuisance: bool


class Jump(NamedTuple):
    """Context entries that may jump together: to any value the prior allows, or to zero.

    removed: the jump is to zero, because the object was removed.
    covariance: (k, k) of the k entries about their estimates, after a jump; None: that of the prior.
    """

    entries: IntArray
    removed: bool = False
    covariance: Array | None = None


class FeatureGroup(Protocol):
    """One block of k columns of Φ.

    names: (k,) of the context entries, with their units.
    scale: (k,) unit of each entry in a checkpoint's prior.
    pools: (k,) names; entries of one pool have a common scale in an isotropic prior.
    sudden: whether the entries may jump together in one instant.
    removable: whether the entries may jump to zero in one instant, because the object is removed.
    nuisance: whether training accounts for the entries but no checkpoint holds them.
    in_dynamics: whether the controller's dynamics contain the attached body, so that `value` leaves it out.
    bounded: whether `possible` can be False.
    constant: whether the entries are constant but for jumps, such as a rigid payload's.
    alike: whether the entries are those of parts that are alike; weights then serve another number of parts.
    heavy_tailed: whether the entries of real robots often lie far outside the prior; it is then widened soon.
    limits: least and largest value that the filter gives to an entry, but for a standard deviation.
    """

    names: tuple[str, ...]
    scale: Array
    pools: tuple[str, ...]
    sudden: bool
    removable: bool
    nuisance: bool
    in_dynamics: bool
    bounded: bool
    constant: bool
    alike: bool
    heavy_tailed: bool
    limits: tuple[float, float]

    def design(self, xi: Xi) -> Array:
        """Φ (N, n, k)."""
        ...

    def impulse(self, interval: Interval) -> Array:
        """Impulse ∫Φ dt (n, k) over an interval.

        Uses no accelerations if the group has a momentum form. Overwritten by the next call.
        """
        ...

    def impulses(self, series: Series) -> Array:
        """Impulses (T·S, n, k) of many intervals, for training."""
        ...

    def attached(self, z: Array) -> Array | None:
        """Parameters, linear in z, of an attached body that adds its inertia to M (momentum_balance.py).

        None: the group describes no attached body.
        """
        ...

    def inertia(self, z: Array) -> Array | None:
        """Diagonal (n,), linear in z, that the group adds to M. None: it adds nothing."""
        ...

    def possible(self, z: Array, variance: Array) -> bool:
        """Whether the coefficients z (k,) are physically possible, given their variance (k,)."""
        ...

    def existing(self, z: Array) -> Array:
        """Physically possible coefficients (k,) near z; z itself if possible."""
        ...

    def unexplained(self, force: Array, xi: Xi, z: Array, scale: Array) -> Array:
        """Part (n,) of a force (n,) that no physically possible change of z explains.

        scale: (n,) of errors of the force.
        """
        ...

    def value(self, xi: Xi, z: Array) -> Array:
        """Residual Φ(ξ) z, (N, n) or broadcastable to it."""
        ...

    def jacobian(self, xi: Xi, z: Array) -> Array:
        """∂(Φ z)/∂(q, v, a) (N, n, 3n) at constant effort."""
        ...

    def effort_gain(self, z: Array) -> Array:
        """Gain ε (nu,), linear in z, with Φ z = B ε u + ….

        A group is affine in the effort and scales each actuator separately.
        """
        ...


class BaseGroup:
    """Defaults of a feature group: physical units, no jumps, no attached body, no effort gain, zero Jacobian.

    A subclass defines `design`, or `impulse`, `impulses` and `value` instead.

    dof, nu: number of velocities and actuators; nu None: equal to dof.
    """

    sudden = removable = nuisance = in_dynamics = bounded = constant = alike = heavy_tailed = False
    limits = (-inf, inf)

    def __init__(self, dof: int, names: tuple[str, ...], nu: int | None = None) -> None:
        self._dof, self._nu = dof, dof if nu is None else nu
        self.names = names
        self.scale: Array = np.ones(len(names))
        self.pools: tuple[str, ...] = names[:1] * len(names)

    def design(self, xi: Xi) -> Array:
        raise NotImplementedError

    def impulse(self, interval: Interval) -> Array:
        return interval.dt * self.design(interval.middle)[0]

    def impulses(self, series: Series) -> Array:
        return series.dt * self.design(series.middle)

    def value(self, xi: Xi, z: Array) -> Array:
        return np.asarray(self.design(xi) @ z)

    def attached(self, z: Array) -> Array | None:
        return None

    def inertia(self, z: Array) -> Array | None:
        return None

    def possible(self, z: Array, variance: Array) -> bool:
        return True

    def existing(self, z: Array) -> Array:
        return z

    def unexplained(self, force: Array, xi: Xi, z: Array, scale: Array) -> Array:
        return force

    def effort_gain(self, z: Array) -> Array:
        return np.zeros(self._nu)

    def jacobian(self, xi: Xi, z: Array) -> Array:
        return np.zeros((len(xi.v), self._dof, 3 * self._dof))


CONSTANT_SHARE = 0.3
"""For a group that is constant except for jumps: share of the prior towards which it is forgotten."""


class FeatureMap:
    """Several groups: Φ = [Φ_1 … Φ_m]."""

    def __init__(self, dynamics: Dynamics, groups: tuple[FeatureGroup, ...]) -> None:
        self._dof = dof = dynamics.dof
        self.names = tuple(name for group in groups for name in group.names)
        self.groups = groups
        ends = np.cumsum([0, *(len(group.names) for group in groups)])
        self._parts = [(group, slice(int(a), int(b))) for group, a, b in zip(groups, ends[:-1], ends[1:], strict=True)]
        self._bounded = [(group, part) for group, part in self._parts if group.bounded]
        self._impulse = np.zeros((dof, self.size))
        self._columns = [(group, self._impulse[:, part]) for group, part in self._parts]
        self._by_gain = self._linear(dynamics.nu, lambda group, unit: group.effort_gain(unit))
        self._by_attached = self._linear(dynamics.attached, lambda group, unit: group.attached(unit))
        self._by_inertia = self._linear(dynamics.dof, lambda group, unit: group.inertia(unit))
        self._adds_inertia = bool(np.any(self._by_inertia))
        self._by_left_out = self._linear(
            dynamics.attached, lambda group, unit: group.attached(unit) if group.in_dynamics else None
        )

    @property
    def forgotten(self) -> Array:
        """Share (n_z,) of the prior's standard deviation towards which each entry is forgotten."""
        return np.where(self._each(lambda group: group.constant), CONSTANT_SHARE, 1.0)

    @property
    def limits(self) -> Array:
        """Least and largest value (2, n_z) of each entry."""
        return np.array([group.limits for group in self.groups for _ in group.names]).reshape(-1, 2).T

    @property
    def sudden(self) -> NDArray[np.bool_]:
        """Whether each entry (n_z,) may change suddenly."""
        return self._each(lambda group: group.sudden)

    def _linear(self, size: int, of: Callable[[FeatureGroup, Array], Array | None]) -> Array:
        """Matrix (size, n_z) of a quantity that groups give as a linear function of their context entries."""
        columns = np.zeros((self.size, size))
        for group, part in self._parts:
            for column, unit in zip(columns[part], np.eye(part.stop - part.start), strict=True):
                given = of(group, unit)
                column[:] = 0.0 if given is None else given
        return np.ascontiguousarray(columns.T)

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def scale(self) -> Array:
        """Unit (n_z,) of each entry in a checkpoint's prior."""
        return np.concatenate([np.zeros(0), *(group.scale for group in self.groups)])

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The context entries (n_z,)."""
        return tuple(
            Entry(name, pool, group.removable, group.nuisance)
            for group in self.groups
            for name, pool in zip(group.names, group.pools, strict=True)
        )

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """Possible jumps of the context: of each sudden group to any value, then of each removable one to zero."""
        indices = [(group, np.arange(part.start, part.stop)) for group, part in self._parts]
        changed = [Jump(entries) for group, entries in indices if group.sudden]
        return (*changed, *(Jump(entries, removed=True) for group, entries in indices if group.removable))

    def design(self, xi: Xi) -> Array:
        """Φ (N, n, n_z)."""
        made = np.empty((*xi.v.shape, self.size))
        for group, part in self._parts:
            made[:, :, part] = group.design(xi)
        return made

    def impulse(self, interval: Interval) -> Array:
        """∫Φ dt (n, n_z) over an interval. Overwritten by the next call."""
        for group, columns in self._columns:
            columns[...] = group.impulse(interval)
        return self._impulse

    def impulses(self, series: Series) -> Array:
        """Impulses (T·S, n, n_z) of many intervals, for training."""
        nothing = np.zeros((*series.middle.v.shape, 0))
        return np.concatenate([nothing, *(group.impulses(series) for group in self.groups)], axis=2)

    def attached(self, z: Array) -> Array:
        """Parameters (k,) of the attached body that adds its inertia to M."""
        return self._by_attached.dot(z)

    def added_inertia(self, attached: Array, z: Array) -> Array:
        """Inertia (n, n) that the features add to M, that of the attached body included."""
        if not self._adds_inertia:
            return attached
        inertia = attached.copy()
        inertia.reshape(-1)[:: self._dof + 1] += self._by_inertia.dot(z)
        return inertia

    def _each(self, of: Callable[[FeatureGroup], bool]) -> NDArray[np.bool_]:
        """A property of its group for each entry (n_z,)."""
        return np.array([of(group) for group in self.groups for _ in group.names], dtype=bool)

    @property
    def heavy_tailed(self) -> NDArray[np.bool_]:
        """Whether the prior of each entry (n_z,) is widened soon when an estimate leaves it."""
        return self._each(lambda group: group.heavy_tailed)

    @property
    def bounded(self) -> bool:
        """Whether `possible` can be False."""
        return bool(self._bounded)

    def possible(self, z: Array, variance: Array) -> bool:
        """Whether every group's coefficients are physically possible."""
        return all(group.possible(z[part], variance[part]) for group, part in self._bounded)

    def existing(self, z: Array) -> Array:
        """Physically possible coefficients (n_z,) near z; see FeatureGroup."""
        made = z.copy()
        for group, part in self._bounded:
            made[part] = group.existing(z[part])
        return made

    def unexplained(self, force: Array, xi: Xi, z: Array, scale: Array, bounded_only: bool = False) -> Array:
        """Part (n,) of a force that no change of a group's coefficients z explains; see FeatureGroup.

        bounded_only: that no bounded group explains, such as a payload.
        """
        for group, part in self._bounded if bounded_only else self._parts:
            force = group.unexplained(force, xi, z[part], scale)
        return force

    def value(self, xi: Xi, z: Array) -> Array:
        """Φ(ξ) z (N, n)."""
        value = np.zeros(xi.v.shape)
        for group, part in self._parts:
            value += group.value(xi, z[part])
        return value

    def jacobian(self, xi: Xi, z: Array) -> Array:
        """∂(Φ z)/∂(q, v, a) (N, n, 3n) at constant effort."""
        return sum(
            (g.jacobian(xi, z[part]) for g, part in self._parts), np.zeros((len(xi.v), self._dof, 3 * self._dof))
        )

    def effort_gain(self, z: Array) -> Array:
        """ε (nu,): the actuators' strength beyond 1."""
        return self._by_gain.dot(z)

    def left_out(self, z: Array) -> Array:
        """Parameters (k,) of the attached body that `value` leaves to the controller's dynamics."""
        return self._by_left_out @ z
