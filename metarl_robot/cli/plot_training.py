# SPDX-License-Identifier: Apache-2.0
"""Figures of training: loss over gradient steps, and prediction scores of adapters after little data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl_robot.cli.figure import add_title, colour, label_ends, new_figure, plain_log_ticks

_COLOUR_OF = {
    "last_layer": "meta_mpc",
    "inertial": "offset_free_mpc",
    "disturbance_observer": "nominal_mpc",
    "maml_second_order": "oracle_mpc",
    "second_order": "oracle_mpc",
    "maml_first_order": "computed_torque",
    "first_order": "computed_torque",
    "fine_tuning": "pid",
    "supervised": "pid",
}


def training(curves: Mapping[str, Sequence[tuple[int, float]]], scores: Mapping[str, Any]) -> Figure:
    """Draw loss curves, and beside them the scores on held-out tasks."""
    figure, axes = new_figure(11.0, 3.6, columns=2)
    _losses(axes[0], curves)
    _predictions(axes[1], scores)
    return add_title(figure, "Training, and the residual's prediction on held-out tasks")


def prediction(scores: Mapping[str, Any]) -> Figure:
    """Draw the error of the predicted residual over the amount of data."""
    figure, axes = new_figure(7.0, 3.6)
    _predictions(axes, scores)
    return add_title(figure, f"Prediction on {scores['tasks']} held-out tasks, {scores['horizon_ms']} ms ahead")


def _losses(axes: Axes, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    ends = []
    for i, (name, curve) in enumerate(curves.items()):
        steps, losses = np.array(curve, dtype=float).T
        shade = _shade(name, i)
        axes.plot(steps, losses, color=shade, linewidth=1.6)
        ends.append((steps[-1], losses[-1], name, shade))
    every = np.concatenate([[loss for _, loss in curve] for curve in curves.values()])
    if every.min() > 0.0 and every.max() > 20.0 * every.min():
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
    axes.set(xlabel="gradient steps", ylabel="loss")
    label_ends(axes, ends)


def _predictions(axes: Axes, scores: Mapping[str, Any]) -> None:
    ends = []
    for i, (name, entries) in enumerate(scores["rows"].items()):
        windows = [entry["window_ms"] for entry in entries]
        errors = [entry["rmse_percent_of_limit"] for entry in entries]
        shade = _shade(name, i)
        axes.loglog(windows, errors, color=shade, linewidth=1.6, marker="o", markersize=4)
        ends.append((windows[-1], errors[-1], name, shade))
    axes.set(xlabel="data since the change [ms]", ylabel="residual error [% of effort limit]")
    plain_log_ticks(axes.yaxis)
    axes.set_xticks(windows, [str(window) for window in windows])
    axes.minorticks_off()
    label_ends(axes, ends)


def _shade(name: str, position: int) -> str:
    return colour(_COLOUR_OF.get(name, name), position)
