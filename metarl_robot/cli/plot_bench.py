# SPDX-License-Identifier: Apache-2.0
"""Plots of cost against size on logarithmic axes, with fitted power laws."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl_robot.cli.figure import new_figure


def curves(group: list[dict[str, Any]]) -> Figure:
    """Draw the curves of one figure."""
    figure, axes = new_figure(5.5, 3.9)
    for curve in group:
        sizes, costs = np.array(curve["sizes"], dtype=float), np.array(curve["cost_us"], dtype=float)
        (line,) = axes.loglog(
            sizes, costs, "o", label=f"{curve['label']}: ~ {curve['size_name']}^{curve['exponent']:.2f}"
        )
        middle = np.exp(np.log(costs).mean() + curve["exponent"] * (np.log(sizes) - np.log(sizes).mean()))
        axes.loglog(sizes, middle, "-", color=line.get_color(), linewidth=1.0)
    axes.set_xlabel(group[0]["size_name"])
    axes.set_ylabel("time of one call [µs]")
    axes.set_title(group[0]["figure"])
    axes.set_xticks(sorted({size for curve in group for size in curve["sizes"]}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    figure.legend(loc="outside lower left", frameon=False)  # outside, so that it hides no line
    return figure
