# SPDX-License-Identifier: Apache-2.0
"""Figure of an evaluation: a dot for each episode, a bar for the median, in three phases around the change."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl_robot.cli.eval_tables import controllers_of, episodes_of, values_of
from metarl_robot.cli.figure import add_title, colour, new_figure, plain_log_ticks

_PHASES = (
    ("rmse_before_m", "before the change"),
    ("rmse_transient_m", "first second after"),
    ("rmse_after_m", "1 to 5 s after"),
)
_DOT_SPREAD = 0.22


def evaluation(result: dict[str, Any]) -> Figure:
    """Draw the tracking RMSE by controller and phase, on one logarithmic axis."""
    controllers = controllers_of(result)
    figure, axes = new_figure(
        10.0, 0.42 * len(controllers) + 1.5, columns=len(_PHASES), sharex=True, sharey=True, squeeze=False
    )
    for panel, (field, title) in zip(axes[0], _PHASES, strict=True):
        for row, controller in enumerate(controllers):
            _draw(panel, row, 1e3 * values_of(episodes_of(result, controller), field), colour(controller, row))
        panel.set_title(title, fontsize=9.5, fontweight="normal")
        panel.set_xscale("log")
        panel.grid(axis="y", visible=False)
    first = axes[0][0]
    first.set_yticks(range(len(controllers)), controllers)
    first.set_ylim(len(controllers) - 0.4, -0.6)
    plain_log_ticks(first.xaxis)
    figure.supxlabel("tracking RMSE [mm]", fontsize=10)
    title = f"{result['robot']}, suite {result['suite']}: dots are episodes, bars are medians"
    return add_title(figure, title)


def _draw(axes: Axes, row: int, values: np.ndarray[Any, Any], shade: str) -> None:
    if not len(values):
        return
    middle = float(np.median(values))
    offsets = row + np.linspace(-_DOT_SPREAD, _DOT_SPREAD, len(values)) if len(values) > 1 else [row]
    axes.scatter(values, offsets, s=13, color=shade, alpha=0.55, linewidths=0)
    axes.plot([middle, middle], [row - 0.36, row + 0.36], color=shade, linewidth=2.5, solid_capstyle="butt")
    axes.annotate(
        f"{middle:.3g}",
        (middle, row - 0.36),
        xytext=(0, 1),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=shade,
    )
