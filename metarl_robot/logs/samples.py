# SPDX-License-Identifier: Apache-2.0
"""Samples of a recording as a controller and its adapters get them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import NoAdaptation
from metarl_robot.adaptation.guard import GuardedAdapter
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State
from metarl_robot.dynamics.protocols import Dynamics
from metarl_robot.logs.recording import Recording

Array = NDArray[np.float64]


class Samples(NamedTuple):
    """Samples as a controller sees them: time_s (K,), q, v (K, n), effort (K, nu) mean until the next; usual period.

    specific_force: (K, 3) mean since the last sample; None: not measured.
    """

    time_s: Array
    q: Array
    v: Array
    effort: Array
    period_s: float
    specific_force: Array | None = None

    def state(self, k: int) -> State:
        """The k-th state."""
        force = self.specific_force
        return State(self.q[k], self.v[k], None if force is None else force[k])


class Taken(NamedTuple):
    """Samples that passed the guard: q, v (K, ·); effort (K, nu) that acted in the dt (K,) before each.

    specific_force: (K, 3), NaN where it is not usable; None: not measured.
    """

    q: Array
    v: Array
    effort: Array
    dt: Array
    specific_force: Array | None = None

    def state(self, k: int) -> State:
        """The k-th state."""
        force = None if self.specific_force is None else self.specific_force[k]
        return State(self.q[k], self.v[k], None if force is None or np.isnan(force[0]) else force)


def samples_of(recording: Recording, period_s: float) -> Samples:
    """Every k-th sample, so that they are about this time apart, or all if that is less than the recording's."""
    stride = max(1, round(period_s / recording.period_s))
    at = np.arange(0, len(recording.time_s), stride)
    effort, steps = recording.effort, np.diff(recording.time_s)[:, None]
    impulses = np.append(0.5 * steps * (effort[1:] + effort[:-1]), steps[-1:] * effort[-1:], axis=0)
    lasted = np.add.reduceat(np.append(steps, steps[-1:], axis=0), at, axis=0)
    held = np.add.reduceat(impulses, at, axis=0) / lasted
    force = recording.specific_force
    if force is not None:
        sums = np.concatenate([np.zeros((1, 3)), np.cumsum(force, axis=0)])
        since = np.concatenate([[0], at[:-1] + 1])
        force = (sums[at + 1] - sums[since]) / (at + 1 - since)[:, None]
    return Samples(recording.time_s[at], recording.q[at], recording.v[at], held, stride * recording.period_s, force)


class _Behind(NoAdaptation):
    """Stores the samples that pass a guard.

    room: arrays for as many samples as may come. count: of those stored.
    """

    def __init__(self, dynamics: Dynamics, room: Taken) -> None:
        super().__init__(dynamics)
        self._room, self.count = room, 0

    def update(self, state: State, effort: Array, dt: float) -> Context:
        room, k = self._room, self.count
        room.q[k], room.v[k], room.effort[k], room.dt[k] = state.q, state.v, effort, dt
        if room.specific_force is not None:
            room.specific_force[k] = np.nan if state.specific_force is None else state.specific_force
        self.count += 1
        return EMPTY_CONTEXT


def passed(robot: Robot, dynamics: Dynamics, samples: Samples) -> tuple[NDArray[np.bool_], Taken]:
    """Which samples (K,) pass the guard of the factory's adapters (adaptation/guard.py), and these as it passes them.

    All adapters have the same guard: here, it runs once for all of them.
    """
    time_s, force = samples.time_s, samples.specific_force
    q, v, effort, dt = (np.empty_like(each) for each in (samples.q, samples.v, samples.effort, time_s))
    room = Taken(q, v, effort, dt, None if force is None else np.empty_like(force))
    behind, usable = _Behind(dynamics, room), np.zeros(len(time_s), dtype=bool)
    guard, steps = GuardedAdapter(robot, behind), np.diff(time_s, prepend=time_s[0] - samples.period_s).tolist()
    for k, step_s in enumerate(steps):
        before = behind.count
        guard.update(samples.state(k), samples.effort[max(k - 1, 0)], step_s)
        usable[k] = behind.count > before
    if usable.all() and np.array_equal(q, samples.q):  # no array twice
        q, v = samples.q, samples.v
    left = slice(0, behind.count)
    return usable, Taken(q[left], v[left], effort[left], dt[left], None if room[4] is None else room[4][left])
