# SPDX-License-Identifier: Apache-2.0
"""Data of figures: smoothing, thinning and correct labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl_robot.cli import figure, plot_run
from metarl_robot.core.errors import MetaRLError


def test_thinning_keeps_order_ends_and_every_peak() -> None:
    rng = np.random.default_rng(2)
    time_s = np.arange(40_000) * 0.001
    values = rng.normal(size=40_000)
    values[12_345], values[23_456] = 99.0, -99.0
    thin_time, thin = plot_run.thinned(time_s, values)
    assert len(thin) < 2_000
    assert np.all(np.diff(thin_time) > 0)
    assert {99.0, -99.0} <= set(thin)
    assert thin_time[-1] == time_s[-1]


def test_labels_keep_their_order_their_distance_and_the_axes() -> None:
    heights = np.array([0.2, 0.21, 0.22, 0.98, 0.99])
    spread = figure.spread(heights, 0.08)
    assert np.all(np.diff(spread) >= 0.08 - 1e-12)
    assert spread[-1] <= 1.0


def test_a_controller_keeps_its_colour_and_ours_are_all_different() -> None:
    ours = ("pid", "computed_torque", "nominal_mpc", "offset_free_mpc", "meta_mpc", "oracle_mpc")
    assert len({figure.colour(name) for name in ours}) == len(ours)
    assert figure.colour("pid", 0) == figure.colour("pid", 3)


def test_an_unknown_image_format_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(MetaRLError, match=r"\.svg, \.png, \.pdf"):
        figure.check_suffix(Path("plot.doc"), figure.IMAGES)
