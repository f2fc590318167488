# SPDX-License-Identifier: Apache-2.0
"""Figures of policies: learning curve, and the return over the steps of an adaptation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl_robot.cli.figure import add_title, colour, label_ends, new_figure
from metarl_robot.cli.policy_tables import step_name

_SERIES = {"return_before": ("before", "nominal_mpc"), "return_after": ("after", "meta_mpc")}


def training(curve: Path, meta: Mapping[str, Any]) -> Figure:
    """Draw the learning curve, and beside it the scores on held-out tasks. curve: JSON lines; meta: the record."""
    figure, axes = new_figure(11.0, 3.6, columns=2)
    _curve(axes[0], [json.loads(line) for line in curve.read_text(encoding="utf-8").splitlines()])
    _steps(axes[1], {**meta, **meta["scores"]})
    return add_title(figure, f"{meta['family']}, {meta['algo']}: training, and adaptation to held-out tasks")


def adaptation(result: Mapping[str, Any]) -> Figure:
    """Draw the return over gradient steps. result: as `metarl eval-policy --json` prints it."""
    figure, axes = new_figure(7.0, 3.6)
    _steps(axes, result)
    return add_title(figure, f"{result['family']}, {result['algo']}: mean of tasks, 95 % interval")


def _curve(axes: Axes, lines: list[dict[str, float]]) -> None:
    ends = []
    for key, (name, shade) in _SERIES.items():
        points = [(line["iteration"], line[key]) for line in lines if key in line]
        if points:
            iterations, returns = zip(*points, strict=True)
            axes.plot(iterations, returns, color=colour(shade), linewidth=1.6)
            ends.append((iterations[-1], returns[-1], name, colour(shade)))
    axes.set(xlabel="iteration", ylabel="return, mean of tasks")
    label_ends(axes, ends)


def _steps(axes: Axes, result: Mapping[str, Any]) -> None:
    steps = result["steps"]
    numbers = [int(step) for step in steps]
    means = [score["return_mean"] for score in steps.values()]
    widths = [score["return_ci95"] for score in steps.values()]
    axes.errorbar(numbers, means, widths, color=colour("meta_mpc"), marker="o", markersize=4, capsize=3)
    axes.set(xlabel=step_name(result["algo"]), ylabel="return, mean of tasks")
    axes.set_xticks(numbers)
