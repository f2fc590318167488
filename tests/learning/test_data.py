# SPDX-License-Identifier: Apache-2.0
"""The residual and its features: equal to the online code's, sample by sample, and explained by the true contexts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.adaptation.euclidean_data import Rollouts, training_data
from metarl_robot.adaptation.feature_spec import feature_map, raw_groups
from metarl_robot.adaptation.features import Interval
from metarl_robot.adaptation.training_data import HISTORY, TrainingData
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.dataset import DataSet


def test_impulses_are_those_of_the_online_features(planar: Robot, dynamics: ArmDynamics, driven: Rollouts) -> None:
    """On positions that are where the velocities lead, as the filter predicts them."""
    moved = 0.5 * driven.dt * (driven.v[:, 1:] + driven.v[:, :-1]).astype(float)
    driven = replace(driven, q=np.concatenate([driven.q[:, :1], driven.q[:, :1] + np.cumsum(moved, axis=1)], axis=1))
    features, tasks = feature_map(planar, dynamics, raw_groups("arm")), training_data(planar, dynamics, driven)
    rng = np.random.default_rng(0)
    for task, k in zip(rng.integers(tasks.tasks, size=20), rng.integers(tasks.intervals, size=20), strict=True):
        sample = k + HISTORY
        q, v, effort = (x[task].astype(float) for x in (driven.q, driven.v, driven.effort))
        past = np.stack([effort[sample - 1], effort[sample - 2]])
        balance = dynamics.balance(q[sample], v[sample], v[sample + 1], driven.dt, np.zeros(10))
        interval = Interval(q[sample], v[sample], v[sample + 1], effort[sample], past, driven.dt, balance)
        np.testing.assert_allclose(tasks.raw[task, k], features.impulse(interval), rtol=1e-5, atol=1e-7)


def test_target_is_the_mean_residual(dynamics: ArmDynamics, tasks: TrainingData) -> None:
    """In the middle of an interval M a + h - τ differs from the mean by the curvature of the motion alone, which is
    small.
    """
    q, v, a, effort = (x.reshape(-1, tasks.dof).astype(float) for x in (tasks.q, tasks.v, tasks.a, tasks.effort))
    direct = dynamics.inverse_dynamics(q, v, a) - effort
    target = tasks.target.reshape(-1, tasks.dof) / tasks.dt
    assert np.sqrt(np.mean((direct - target) ** 2)) < 0.01 * np.sqrt(np.mean(target**2))


def test_true_contexts_explain_the_residual_of_tasks_without_a_cable(data: DataSet, tasks: TrainingData) -> None:
    free = np.array([task.cable is None for task in data.tasks])
    left = tasks.target - np.einsum("tsnk,tk->tsn", tasks.raw, tasks.contexts)
    share = np.median(np.abs(left[free])) / np.median(np.abs(tasks.target[free]))
    assert share < 0.03  # the rest is stiction: short and local
    assert np.median(np.abs(left[~free])) > 2.0 * np.median(np.abs(left[free]))


def test_without_nuisances_only_the_latency_is_missing(tasks: TrainingData) -> None:
    late = [name.startswith("latency_") for name in tasks.names]
    known = np.einsum("tsnk,tk->tsn", tasks.raw[..., late], tasks.contexts[:, late])
    np.testing.assert_allclose(tasks.without_nuisances().target + known, tasks.target, atol=1e-6)


def test_merged_intervals_add_up(tasks: TrainingData) -> None:
    pairs = tasks.merged(2)
    assert pairs.dt == 2 * tasks.dt and pairs.intervals == tasks.intervals // 2
    whole = 2 * pairs.intervals
    np.testing.assert_allclose(pairs.target.sum(axis=1), tasks.target[:, :whole].sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(pairs.raw[:, 0], tasks.raw[:, :2].sum(axis=1), atol=1e-6)
    np.testing.assert_array_equal(pairs.mobility, tasks.mobility[:, : whole + 1 : 2])


def test_groups_choose_columns(planar: Robot, dynamics: ArmDynamics, driven: Rollouts, tasks: TrainingData) -> None:
    few = training_data(planar, dynamics, driven.part(slice(0, 3)), ("motor", "payload"))
    columns = [tasks.names.index(name) for name in few.names]
    np.testing.assert_allclose(few.raw, tasks.raw[:3][..., columns])
    np.testing.assert_allclose(few.contexts, tasks.contexts[:3, columns])


def test_bad_input_is_refused(planar: Robot, dynamics: ArmDynamics, driven: Rollouts) -> None:
    with pytest.raises(UnknownNameError, match="feature group"):
        training_data(planar, dynamics, driven, ("payload", "wind"))
    with pytest.raises(MetaRLError, match="q_measured must be"):
        replace(driven, q_measured=driven.q_measured[:, 1:])
    with pytest.raises(MetaRLError, match="effort must be finite"):
        replace(driven, effort=np.full_like(driven.effort, np.nan))
    with pytest.raises(MetaRLError, match="no true values"):
        training_data(
            planar, dynamics, replace(driven, contexts=driven.contexts[:, :3], context_names=driven.context_names[:3])
        )
