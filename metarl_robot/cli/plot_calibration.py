# SPDX-License-Identifier: Apache-2.0
"""Figure of a calibration: reliability diagram, and distribution of the errors in standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from metarl_robot.cli.figure import add_title, new_figure, spare_colour
from metarl_robot.sim.calibration import LEVELS

_WIDEST = 4.0
"""Errors beyond as many standard deviations are in the outermost bins."""
_BINS = 33


def calibration_figure(document: dict[str, Any]) -> Figure:
    """Draw nominal against empirical coverage, and error / σ beside the normal distribution."""
    figure, ((reliability, errors),) = new_figure(9.0, 3.8, columns=2, squeeze=False)
    rows = [row for row in document["summary"] if not row["kind"]]
    for position, row in enumerate(rows):
        label = f"{row['title']} after {row['after_s']:g} s"
        reliability.plot(LEVELS, row["reliability"], marker="o", color=spare_colour(position), label=label)
        reliability.plot(LEVELS, row["exact_reliability"], linestyle=":", color=spare_colour(position))
        _draw_errors(errors, document, row, position)
    reliability.plot((0, 1), (0, 1), color="0.6", linewidth=0.8, zorder=0)
    reliability.set(xlabel="nominal coverage", ylabel="share of errors within", xlim=(0, 1), ylim=(0, 1.02))
    reliability.legend(title="dotted: exact posterior", loc="upper left")
    at = np.linspace(-_WIDEST, _WIDEST, 200)
    errors.plot(at, norm.pdf(at), color="0.4", linewidth=1.0)
    errors.set(xlabel="error / σ", ylabel="density")
    return add_title(figure, f"{document['robot']}, suite {document['suite']}: {len(document['draws'])} draws")


def _draw_errors(axes: Axes, document: dict[str, Any], row: dict[str, Any], position: int) -> None:
    chosen = [
        each["error"] / each["std"]
        for draw in document["draws"]
        for each in draw["estimates"]
        if (each["quantity"], each["after_s"]) == (row["quantity"], row["after_s"]) and each["std"] > 0.0
    ]
    values, edges = np.clip(chosen, -_WIDEST, _WIDEST), np.linspace(-_WIDEST, _WIDEST, _BINS)
    axes.hist(values, edges.tolist(), density=True, histtype="step", color=spare_colour(position))
