# SPDX-License-Identifier: Apache-2.0
"""The exact posterior of the context, against which a filter's estimate is judged. Simulation only.

With latency and time of the change known, and regressors linearised about the true context, the momentum filter's model
is linear and Gaussian: y = H z + w, w with the covariance C of noise, disturbance and model error. The batch solution,
generalised least squares with the prior z ~ N(z̄, P_0), minimises

    (y - H z)ᵀ C⁻¹ (y - H z) + (z - z̄)ᵀ P_0⁻¹ (z - z̄)

A Kalman filter that forgets nothing and tests no hypotheses computes the same minimum and its covariance, sample by
sample (Kailath, Sayed, Hassibi, Linear Estimation, 2000). At a change, the groups that changed return to their prior,
and nothing is learned from the interval with the change: its force is neither that before nor that after.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import feature_groups, raw_groups, true_contexts
from metarl_robot.adaptation.momentum_filter import LONGEST_INTERVAL_S, MomentumFilter
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Context, State
from metarl_robot.sim.physics_time import whole_steps

Array = NDArray[np.float64]

NEVER_S = 1e12


class BatchPosterior(MomentumFilter):
    """Adapter: the posterior of a momentum filter's context, with the true task known but for the context.

    `begin` comes before every `reset`, `observe` with every change.
    """

    @classmethod
    def like(cls, other: MomentumFilter) -> BatchPosterior:
        """The posterior with regressors, prior, noise levels and disturbance model (the class) of a filter."""
        tuning = replace(other._tuning, forgetting_s=NEVER_S, change_detection=0.0)
        made: type[BatchPosterior] = type(cls.__name__, (cls, type(other)), {})
        return made(other._dynamics, other._features, other._prior, tuning)

    def begin(self, robot: Robot, task: Any, physics_dt_s: float) -> None:
        """Take the first task: its context, about which the regressors are linearised, and its latency."""
        self._about, self._changing = self._truth(robot, task), False
        delays = (task.command_delay_s, task.sensor_delay_s)
        self._known_latency_s = physics_dt_s * sum(whole_steps(delay, physics_dt_s) for delay in delays)

    def observe(self, robot: Robot, task: Any) -> None:
        """Take the task, which began since the last sample: groups with a changed context return to their prior."""
        before, self._about, self._changing = self._about, self._truth(robot, task), True
        mean, covariance = self.belief.mean, self.belief.covariance
        for entries in (jump.entries for jump in self._features.jumps if (before != self._about)[jump.entries].any()):
            at = self._z.start + entries
            mean[at] = self._prior.mean[entries]
            covariance[at, :] = 0.0
            covariance[:, at] = 0.0
            covariance[np.ix_(at, at)] = self._prior.covariance[np.ix_(entries, entries)]

    def _truth(self, robot: Robot, task: Any) -> Array:
        """True context (n_z,); zero for entries without a true value."""
        names = raw_groups(robot.kind)
        groups = feature_groups(robot, self._dynamics, names)
        values = true_contexts(robot, [task], names, groups)[0].tolist()
        known = dict(zip((name for group in groups for name in group.names), values, strict=True))
        return np.array([known.get(name, 0.0) for name in self._features.names])

    @property
    def context(self) -> Context:
        std = np.sqrt(np.maximum(self.belief.covariance.diagonal()[self._z], 0.0))
        return Context(self._features.names, self._context.copy(), std)

    def _remember(self, effort: Array) -> None:
        super()._remember(effort)
        self._efforts.history._latency[:] = getattr(self, "_known_latency_s", 0.0)

    def _start(self, state: State) -> None:
        self._locate(state)

    def _learn(self, state: State, effort: Array, dt: float) -> None:
        if dt > LONGEST_INTERVAL_S or self._changing:
            self._changing = False
            self._locate(state)
            return
        self.belief = self._step.take(self.belief, self._sample(state, effort, dt), self._about).belief
        self._noise.learn(self._algebra.white, self._algebra.response, dt)

    def _keep_plausible(self, state: State, effort: Array, dt: float) -> None:
        """The prior stays as it is."""
