# SPDX-License-Identifier: Apache-2.0
"""Figures of the GrBAL suite: learning curve, prediction errors and returns of the models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl_robot.cli.figure import add_title, colour, label_ends, new_figure

_COLOUR_OF = {"adapted": "meta_mpc", "unadapted": "computed_torque", "plain": "nominal_mpc", "fine_tuned": "pid"}
_CURVES = {"return_meta": ("adapted", "meta_mpc"), "return_plain": ("plain", "nominal_mpc")}


def training(curve: Path, result: Mapping[str, Any]) -> Figure:
    """Draw the learning curve, and beside it the comparison. curve: JSON lines."""
    figure, axes = new_figure(13.0, 3.6, columns=3)
    _curve(axes[0], [json.loads(line) for line in curve.read_text(encoding="utf-8").splitlines()])
    _bars(axes[1], result, "k_step_error", f"{result['predicted']}-step error [σ]")
    _bars(axes[2], result, "return", "return")
    return add_title(figure, f"{result['environment']}: training, and comparison after it")


def comparison(result: Mapping[str, Any]) -> Figure:
    """Draw errors and returns of the models. result: as `metarl eval grbal --json` holds it."""
    figure, axes = new_figure(9.0, 3.6, columns=2)
    _bars(axes[0], result, "k_step_error", f"{result['predicted']}-step error [σ]")
    _bars(axes[1], result, "return", "return")
    return add_title(figure, f"{result['environment']}: {len(result['seeds'])} seeds, mean and 95 % interval")


def _curve(axes: Axes, lines: list[dict[str, float]]) -> None:
    ends = []
    for key, (name, shade) in _CURVES.items():
        points = [(line["transitions"], line[key]) for line in lines if key in line]
        if points:
            samples, returns = zip(*points, strict=True)
            axes.plot(samples, returns, color=colour(shade), linewidth=1.6)
            ends.append((samples[-1], returns[-1], name, colour(shade)))
    axes.set(xlabel="transitions", ylabel="return in training, mean of episodes")
    label_ends(axes, ends)


def _bars(axes: Axes, result: Mapping[str, Any], score: str, label: str) -> None:
    for i, (name, scores) in enumerate(result["models"].items()):
        axes.errorbar(
            [i],
            [scores[f"{score}_mean"]],
            [scores[f"{score}_ci95"]],
            color=colour(_COLOUR_OF[name]),
            marker="o",
            markersize=5,
            capsize=4,
        )
    names = [name.replace("_", "-") for name in result["models"]]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set(ylabel=label)
