# SPDX-License-Identifier: Apache-2.0
"""Sensor noise drawn ahead equals noise drawn one by one."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.sim.noise import NoiseStreams


@pytest.mark.parametrize("ahead", [1, 3, 64])
def test_noise_drawn_ahead_is_that_drawn_one_by_one(ahead: int) -> None:
    seeds = (3, 7, [1, 2])
    streams, one_by_one = NoiseStreams(seeds, 5, ahead), [np.random.default_rng(seed) for seed in seeds]
    for _ in range(2 * ahead + 1):
        np.testing.assert_array_equal(streams.next(), [generator.standard_normal(5) for generator in one_by_one])
