# SPDX-License-Identifier: Apache-2.0
"""Figures of recordings: the signals themselves, and errors and estimates of adapters that ran over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl_robot.adaptation.force_scale import force_scale
from metarl_robot.cli.figure import Array, add_title, label_ends, new_figure, plain_log_ticks
from metarl_robot.core import rotation

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot
    from metarl_robot.logs.recording import Recording
    from metarl_robot.logs.replay import Evaluation

_MOST_POINTS = 1500
_SMOOTHED_S = 1.0
_OUTERMOST = 0.03
"""Share of the estimates and their bands, at the start, that may leave the panel on either side."""
_SHADES = {
    **{"nominal": "#D55E00", "hold": "#8B5A2B", "least_squares": "#009E73", "ridge": "#666666"},
    **{"disturbance_observer": "#E69F00", "inertial": "#56B4E9", "last_layer": "#0072B2", "maml": "#CC79A7"},
}
_OTHER = "#000000"


def recordings_figure(robot: Robot, recordings: Sequence[Recording]) -> Figure:
    """Position, velocity and effort of each joint over time: a row for each joint, recordings overlaid.

    Of a robot with an attitude: a column for each recording (flights).
    """
    if robot.attitude is not None:
        return _flights_figure(robot, recordings)
    figure, axes = new_figure(10.0, 0.8 + 1.15 * robot.dof, robot.dof, 3, sharex=True, squeeze=False)
    for recording in recordings:
        for column, values in enumerate((recording.q, recording.v, recording.effort)):
            for j in range(robot.dof):
                axes[j, column].plot(*_thinned(recording.time_s, values[:, j]), linewidth=0.7)
    limits = (robot.position_lower, robot.position_upper), (-robot.velocity_limit, robot.velocity_limit)
    for column, bounds in enumerate((*limits, (robot.effort_lower, robot.effort_limit))):
        for j in range(robot.dof):
            _draw_limits(axes[j, column], bounds[0][j], bounds[1][j])
    for j, name in enumerate(robot.channel_names):
        axes[j, 0].set_ylabel(name, fontsize=8)
    for column, title in enumerate(("position [rad]", "velocity [rad/s]", f"effort [{robot.wording.unit}]")):
        axes[0, column].set_title(title)
        axes[-1, column].set_xlabel("time [s]")
    return add_title(figure, ", ".join(recording.source for recording in recordings))


def _flights_figure(robot: Robot, recordings: Sequence[Recording]) -> Figure:
    """Position, velocity, tilt and heading, body rates, thrusts, and specific force over time."""
    figure, axes = new_figure(1.0 + 7.0 * len(recordings), 11.0, 6, len(recordings), sharex="col", squeeze=False)
    for column, recording in enumerate(recordings):
        q, v, force = recording.q, recording.v, recording.specific_force
        tilt = np.arccos(np.clip(rotation.rotate(q[:, 3:], np.array([0.0, 0.0, 1.0]))[:, 2], -1.0, 1.0))
        turned = np.stack([tilt, np.unwrap(rotation.yaw(q[:, 3:]))], axis=1)
        panels = (
            ("position [m]", "xyz", q[:, :3]),
            ("velocity [m/s]", "xyz", v[:, :3]),
            ("angle [rad]", ("tilt", "heading"), turned),
            ("body rate [rad/s]", "xyz", v[:, 3:]),
            ("thrust [N]", robot.channel_names, recording.effort),
            ("specific force [m/s²]", "xyz", np.zeros((len(q), 0)) if force is None else force),
        )
        for panel, (title, names, values) in zip(axes[:, column], panels, strict=True):
            for name, signal in zip(names, values.T, strict=False):
                panel.plot(*_thinned(recording.time_s, signal), linewidth=0.8, label=name)
            panel.set_ylabel(title)
            if values.size:
                panel.legend(fontsize=7, ncols=4, loc="upper right")
        axes[0, column].set_title(recording.source, fontsize=8)
        axes[-1, column].set_xlabel("time [s]")
    return add_title(figure, f"{robot.name}: recordings")


def _draw_limits(axes: Axes, lower: float, upper: float) -> None:
    """Draw limits that lie within the view."""
    low, high = axes.get_ylim()
    for limit in (lower, upper):
        if low < limit < high:
            axes.axhline(limit, color="#D55E00", linewidth=0.8, linestyle=":")


def evaluation_figure(robot: Robot, evaluations: Sequence[Evaluation]) -> Figure:
    """Error over time of each predictor, and the first quantity that they estimate: a column for each log."""
    figure, axes = new_figure(2.0 + 6.0 * len(evaluations), 6.4, 2, len(evaluations), sharex="col", squeeze=False)
    for column, evaluation in enumerate(evaluations):
        _draw_errors(robot, axes[0, column], evaluation)
        _draw_estimates(robot, axes[1, column], evaluation)
        axes[0, column].set_title(evaluation.source, fontsize=8)
    return add_title(figure, f"{robot.name}: predictions of adapters and of simple baselines")


def _draw_errors(robot: Robot, axes: Axes, evaluation: Evaluation) -> None:
    ends = []
    for name, row in evaluation.rows.items():
        error = 100.0 * np.nanmean(row.force / force_scale(robot), axis=1)
        times, shown = _thinned(evaluation.time_s, _smoothed(evaluation.time_s, error))
        shade = _SHADES.get(name, _OTHER)
        axes.semilogy(times, shown, color=shade, linewidth=1.4)
        ends.append((float(times[-1]), float(shown[-1]), name, shade))
    axes.set_ylabel("error 0.5 s ahead [% of limit]\n(running mean of 1 s)")
    plain_log_ticks(axes.yaxis)
    label_ends(axes, ends, gap=0.06)


def _draw_estimates(robot: Robot, axes: Axes, evaluation: Evaluation) -> None:
    for report in robot.reports[:1]:
        drawn = []
        for name, row in evaluation.rows.items():
            if report.name in row.estimates:
                mean, std = row.estimates[report.name].mean[:, 0], row.estimates[report.name].std[:, 0]
                shade = _SHADES.get(name, _OTHER)
                axes.plot(*_thinned(evaluation.time_s, mean), color=shade, linewidth=1.4, label=name)
                axes.fill_between(evaluation.time_s, mean - 2.0 * std, mean + 2.0 * std, color=shade, alpha=0.15)
                drawn += [mean, mean + 2.0 * std, mean - 2.0 * std]
        if drawn:
            axes.set_ylim(*np.nanquantile(drawn, (_OUTERMOST, 1.0 - _OUTERMOST)))
        quantity = report.quantities[0]
        axes.set_ylabel(f"{quantity.title} [{quantity.unit}]\n(band: ±2 std)")
    axes.set_xlabel("time [s]")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _smoothed(time_s: Array, values: Array) -> Array:
    """Mean of each value and those up to _SMOOTHED_S before."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.searchsorted(time_s, time_s - _SMOOTHED_S)
    last = np.arange(1, len(values) + 1)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _thinned(time_s: Array, values: Array) -> tuple[Array, Array]:
    stride = max(1, len(time_s) // _MOST_POINTS)
    return time_s[::stride], values[::stride]
