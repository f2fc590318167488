# SPDX-License-Identifier: Apache-2.0
"""Figures of recorded runs, overlaid.

They show tracking error, payload estimate, joint or attitude errors, efforts, and computation time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarl_robot.cli.figure import (
    TRUTH_COLOUR,
    Array,
    colour,
    label_ends,
    mark_changes,
    new_figure,
    plain_log_ticks,
    rolling_rms,
    spare_colour,
)
from metarl_robot.cli.runlog import Payload, RunLog
from metarl_robot.core.robot import Robot, load_robot

_RMS_WINDOW_S = 0.25
_ERROR_FLOOR_MM = 1e-3
_MAX_POINTS = 1500
_AXIS_NAMES = "xyz"
_COM_RANGE_MM = 150.0
_TRUTH_LINE: dict[str, Any] = {"color": TRUTH_COLOUR, "linewidth": 1.2, "linestyle": (0, (5, 2))}


def tracking_error(runs: Sequence[RunLog]) -> Figure:
    """Draw the position error of each run over time: the error as a thin line, its rolling RMS as a thick one."""
    figure, axes = new_figure(8.0, 3.6)
    ends = []
    for i, run in enumerate(runs):
        error_mm = np.maximum(1e3 * run.error_m, _ERROR_FLOOR_MM)
        smooth = rolling_rms(run.time_s, error_mm, _RMS_WINDOW_S)
        shade = shade_of(runs, i)
        axes.semilogy(*thinned(run.time_s, error_mm), color=shade, linewidth=0.6, alpha=0.35)
        axes.semilogy(*thinned(run.time_s, smooth), color=shade, linewidth=2.0)
        ends.append((run.time_s[-1], smooth[-1], run.label, shade))
    axes.set(
        xlabel="time [s]",
        ylabel=f"{_tracked(runs)} error [mm]\n(thick: RMS of {_RMS_WINDOW_S:g} s)",
        xlim=_time_range(runs),
    )
    lowest = min(float(np.percentile(run.error_m, 2)) for run in runs)
    axes.set_ylim(max(0.5e3 * lowest, _ERROR_FLOOR_MM), 2.0 * axes.get_ylim()[1])
    plain_log_ticks(axes.yaxis)
    _mark_events(axes, runs, labelled=True)
    label_ends(axes, ends)
    return figure


def payload_estimate(runs: Sequence[RunLog]) -> Figure | None:
    """Draw the estimated payload mass and centre of mass against the truth; None without estimates.

    The band shows ±2 standard deviations.
    """
    estimating = [run for run in runs if run.estimate is not None and len(run.estimate.time_s)]
    if not estimating:
        return None
    figure, axes = new_figure(8.0, 6.4, rows=4, sharex=True, height_ratios=(2.2, 1, 1, 1))
    _draw_mass(axes[0], estimating)
    for axis, axis_axes in enumerate(axes[1:]):
        _draw_com(axis_axes, estimating, axis)
    for a in axes:
        _mark_events(a, estimating, labelled=a is axes[0])
    axes[-1].set(xlabel="time [s]", xlim=_time_range(estimating))
    return figure


def _draw_mass(axes: Axes, runs: Sequence[RunLog]) -> None:
    ends, shown = [], []
    for i, run in enumerate(runs):
        estimate, shade = _estimate(run), shade_of(runs, i)
        _band(axes, estimate.time_s, estimate.mass_kg, estimate.mass_std_kg, shade)
        ends.append((estimate.time_s[-1], estimate.mass_kg[-1], run.label, shade))
        shown.append(estimate.mass_kg)
    truth = _stepped(runs[0])
    axes.step(truth.time_s, truth.mass_kg, where="post", **_TRUTH_LINE)
    ends.append((truth.time_s[-1], truth.mass_kg[-1], "truth", TRUTH_COLOUR))
    means = np.concatenate([*shown, truth.mass_kg])
    span = max(float(np.ptp(means)), 0.1)
    axes.set_ylim(means.min() - 0.25 * span, means.max() + 0.25 * span)
    axes.set_ylabel("mass [kg]\n(band: ±2 std)")
    label_ends(axes, ends, gap=0.11)


def _draw_com(axes: Axes, runs: Sequence[RunLog], axis: int) -> None:
    """Draw one coordinate of the centre of mass; it is hidden while the mass is too uncertain."""
    for i, run in enumerate(runs):
        estimate = _estimate(run)
        known = estimate.mass_kg > 3.0 * np.maximum(estimate.mass_std_kg, 0.02)
        centre = np.where(known, 1e3 * estimate.com_m[:, axis], np.nan)
        _band(axes, estimate.time_s, centre, 1e3 * estimate.com_std_m[:, axis], shade_of(runs, i))
    truth = _stepped(runs[0])
    axes.step(
        truth.time_s, np.where(truth.mass_kg > 0.0, 1e3 * truth.com_m[:, axis], np.nan), where="post", **_TRUTH_LINE
    )
    axes.set_ylabel(f"com {_AXIS_NAMES[axis]} [mm]")
    axes.set_ylim(-_COM_RANGE_MM, _COM_RANGE_MM)


def _estimate(run: RunLog) -> Payload:
    assert run.estimate is not None, "this run has no estimate"
    return run.estimate


def _stepped(run: RunLog) -> Payload:
    """The true payload as a step curve up to the run's end."""
    truth, end = run.truth, run.time_s[-1:]
    repeated = (np.concatenate([v, v[-1:]]) for v in (truth.mass_kg, truth.mass_std_kg, truth.com_m, truth.com_std_m))
    return Payload(np.concatenate([truth.time_s, end]), *repeated)


def _band(axes: Axes, time_s: Array, mean: Array, std: Array, shade: str) -> None:
    times, centre = thinned(time_s, mean)
    _, spread = thinned(time_s, std)
    axes.fill_between(times, centre - 2.0 * spread, centre + 2.0 * spread, color=shade, alpha=0.18, linewidth=0)
    axes.plot(times, centre, color=shade, linewidth=1.6)


def angle_errors(runs: Sequence[RunLog]) -> Figure:
    """Draw the error of every joint, or of the attitude about every axis: one panel each, with a common range."""
    words = _robot(runs).wording
    figure, axes = _panels(runs, len(words.angle_names))
    for i, run in enumerate(runs):
        for k, panel in enumerate(axes):
            curve = thinned(run.time_s, 1e3 * run.angle_error_rad[:, k])
            panel.plot(*curve, color=shade_of(runs, i), linewidth=1.1, label=run.label)
    return _finish_panels(figure, axes, runs, f"{words.angles} error [mrad]", words.angle_names)


def efforts(runs: Sequence[RunLog]) -> Figure:
    """Draw the effort of every joint, or the thrust of every rotor, as a share of its limit: one panel each."""
    robot = _robot(runs)
    words, limits = robot.wording, robot.effort_limit
    figure, axes = _panels(runs, robot.nu)
    for i, run in enumerate(runs):
        for k, panel in enumerate(axes):
            share = 100.0 * run.effort[:, k] / limits[k]
            panel.plot(*thinned(run.time_s, share), color=shade_of(runs, i), linewidth=0.9, alpha=0.85, label=run.label)
    names = [
        f"{name}  (limit {limit:.3g} {words.unit})" for name, limit in zip(robot.channel_names, limits, strict=True)
    ]
    return _finish_panels(figure, axes, runs, f"{words.effort} [% of limit]", names)


def _robot(runs: Sequence[RunLog]) -> Robot:
    robot: Robot = load_robot(runs[0].robot)
    return robot


def _tracked(runs: Sequence[RunLog]) -> str:
    tracked = _robot(runs).wording.tracked
    return "end-effector" if tracked == "end effector" else "position"


def _mark_events(axes: Axes, runs: Sequence[RunLog], labelled: bool = False) -> None:
    events = runs[0].events
    mark_changes(axes, [event.time_s for event in events], [event.what for event in events] if labelled else ())


def _panels(runs: Sequence[RunLog], count: int) -> tuple[Figure, list[Axes]]:
    columns = 1 if count == 1 else 3 if count == 3 else 2 if count <= 4 else 4
    rows = -(-count // columns)
    size = (8.0 if columns < 4 else 9.5, 1.9 * rows + 0.6)
    figure, grid = new_figure(*size, rows=rows, columns=columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.ravel())
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels[:count]


def _finish_panels(
    figure: Figure, axes: list[Axes], runs: Sequence[RunLog], ylabel: str, names: Sequence[str]
) -> Figure:
    for name, panel in zip(names, axes, strict=True):
        panel.set_title(name, fontsize=9, fontweight="normal")
        _mark_events(panel, runs)
        panel.xaxis.set_tick_params(labelbottom=True)
    axes[0].set_xlim(_time_range(runs))
    figure.supxlabel("time [s]", fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    handles = [(line, line.get_label()) for line in axes[0].get_lines() if not str(line.get_label()).startswith("_")]
    figure.legend(*zip(*handles, strict=True), loc="outside upper right", ncols=len(runs), frameon=False, fontsize=9)
    return figure


def step_times(runs: Sequence[RunLog]) -> Figure:
    """Draw the share of controller steps that took longer than a given time.

    A curve drops at the run's typical step time; its tail shows the slowest steps.
    """
    figure, axes = new_figure(8.0, 3.2)
    for i, run in enumerate(runs):
        ordered = np.sort(run.step_ms)
        share = 1.0 - np.arange(len(ordered)) / len(ordered)
        median, p99 = np.percentile(ordered, (50, 99))
        name = f"{run.label}: median {median:.2f} ms, p99 {p99:.2f} ms"
        axes.loglog(ordered, share, drawstyle="steps-post", color=shade_of(runs, i), linewidth=1.8, label=name)
    mark_changes(axes, [1e3 * runs[0].period_s], [f"control period {1e3 * runs[0].period_s:g} ms"])
    axes.set(xlabel="time of one controller step [ms]", ylabel="share of steps that took longer")
    plain_log_ticks(axes.xaxis)
    plain_log_ticks(axes.yaxis)
    figure.legend(loc="outside lower left", ncols=min(len(runs), 2), frameon=False, fontsize=9)
    return figure


def shade_of(runs: Sequence[RunLog], i: int) -> str:
    """Colour of run i: its controller's, or a spare one if an earlier run has the same controller."""
    earlier = [run.controller for run in runs[:i]]
    return spare_colour(i) if runs[i].controller in earlier else colour(runs[i].controller, i)


FIGURES: dict[str, tuple[str, Callable[[Sequence[RunLog]], Figure | None]]] = {
    "tracking": ("Tracking error", tracking_error),
    "payload": ("Payload, as estimated while moving", payload_estimate),
    "angles": ("Errors of joints or attitude", angle_errors),
    "efforts": ("Efforts", efforts),
    "steps": ("Computation time", step_times),
}


def _time_range(runs: Sequence[RunLog]) -> tuple[float, float]:
    return min(float(run.time_s[0]) for run in runs), max(float(run.time_s[-1]) for run in runs)


def thinned(time_s: Array, values: Array) -> tuple[Array, Array]:
    """Thin a curve to about _MAX_POINTS samples; each block keeps its extremes, so no peak is lost."""
    stretch = len(values) // (_MAX_POINTS // 2)
    if stretch < 2:
        return time_s, values
    whole = len(values) // stretch * stretch
    blocks = np.nan_to_num(values[:whole], nan=np.inf).reshape(-1, stretch)
    offsets = np.arange(0, whole, stretch)
    low, high = blocks.argmin(axis=1) + offsets, blocks.argmax(axis=1) + offsets
    picked = np.unique(np.concatenate([low, high, [len(values) - 1]]))
    return time_s[picked], values[picked]
