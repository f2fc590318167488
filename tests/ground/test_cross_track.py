# SPDX-License-Identifier: Apache-2.0
"""The error of a path follower, time by time, is that of the whole run."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.sim.kinds import simulation

STEPS = 900  # more than the meter keeps


@pytest.mark.parametrize("name", ["f1tenth", "panda", "x500"])
def test_the_error_meter_agrees_with_the_errors_of_the_whole_run(name: str) -> None:
    """The vehicle follows a figure eight late and beside the path; the paths cross."""
    robot = load_robot(name, check_model=False)
    kind = simulation(robot)
    rng, angle = np.random.default_rng(7), np.linspace(0.0, 6.0 * np.pi, STEPS)[:, None]
    wanted, actual = np.tile(robot.home, (STEPS, 1)), np.tile(robot.home, (STEPS, 1))
    wanted[:, :2] += np.hstack([4.0 * np.sin(angle), 2.0 * np.sin(2.0 * angle)])
    actual[5:, :2] = wanted[:-5, :2]
    actual[:, :2] += 0.02 * rng.normal(size=(STEPS, 2))
    error_m = kind.error_meter()
    found = [error_m(*pair) for pair in zip(wanted, actual, strict=True)]
    places = kind.positions(actual)
    expected = [
        np.linalg.norm(places[k - 1] - kind.reference_positions(wanted[:k], actual[:k])[-1])
        for k in range(1, STEPS + 1, 20)
    ]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found[::20], expected, atol=1e-9)
