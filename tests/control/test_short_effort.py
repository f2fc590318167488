# SPDX-License-Identifier: Apache-2.0
"""An arm in which the efforts of some joints do not suffice: the other joints move as planned."""

from __future__ import annotations

import numpy as np

from metarl_robot.robots.arm.short_effort import within_efforts

N = 7


def _plan(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inertia (n, n) with strong coupling, accelerations, efforts, and the directions of stops."""
    root = rng.normal(size=(N, N))
    inertia = root @ root.T + 0.05 * np.eye(N)
    return inertia, 10.0 * rng.normal(size=N), 10.0 * rng.normal(size=N), rng.integers(-1, 2, N).astype(float)


def test_only_joints_at_their_effort_limits_accelerate_less() -> None:
    rng, limit, short = np.random.default_rng(0), np.full(N, 8.0), 0
    for _ in range(300):
        inertia, a, effort, _ = _plan(rng)
        now, given = within_efforts(a, effort, inertia, (-limit, limit), np.zeros(N))
        change, at = now - a, np.abs(given) >= limit
        np.testing.assert_allclose(given, effort + inertia @ change, atol=1e-6)
        np.testing.assert_allclose(change[~at], 0.0, atol=1e-9)
        assert (np.sign(given) * change <= 1e-6)[at].all(), "the bound is the one that holds it back"
        short += at.any()
    assert short > 200


def test_a_joint_without_enough_effort_does_not_go_through_its_stop() -> None:
    rng, limit, resting = np.random.default_rng(1), np.full(N, 8.0), 0
    for _ in range(300):
        inertia, a, effort, outward = _plan(rng)
        now, given = within_efforts(a, effort, inertia, (-limit, limit), outward)
        at = np.abs(given) >= limit
        assert (outward * now)[at].max(initial=0.0) <= 1e-6
        np.testing.assert_allclose((now - a)[~at], 0.0, atol=1e-9)
        resting += (at & (outward != 0.0) & (np.abs(now) < 1e-9)).any()
    assert resting > 50
