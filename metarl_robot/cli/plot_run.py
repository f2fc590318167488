# SPDX-License-Identifier: Apache-2.0
"""Figures of recorded runs, overlaid.

They show tracking error, the estimates of the robot's reports, joint or attitude errors, efforts, computation time, and
external forces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from textwrap import fill
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
    spare_colour,
)
from metarl_robot.cli.runlog import RunLog
from metarl_robot.core.external_force import Contact
from metarl_robot.core.quantities import Quantity
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.sim.settling import RMS_WINDOW_S, running_rms

_ERROR_FLOOR_MM = 1e-3
_MAX_POINTS = 1500
_CERTAIN = 1.0 / 3.0
"""An estimate is drawn where its standard deviation is below this share of the quantity's span."""
_TRUTH_LINE: dict[str, Any] = {"color": TRUTH_COLOUR, "linewidth": 1.2, "linestyle": (0, (5, 2))}


def tracking_error(runs: Sequence[RunLog]) -> Figure:
    """Draw the position error of each run over time: the error as a thin line, its running RMS as a thick one."""
    figure, axes = new_figure(8.0, 3.6)
    ends = []
    for i, run in enumerate(runs):
        error_mm = np.maximum(1e3 * run.error_m, _ERROR_FLOOR_MM)
        smooth = running_rms(run.time_s, error_mm)
        shade = shade_of(runs, i)
        axes.semilogy(*thinned(run.time_s, error_mm), color=shade, linewidth=0.6, alpha=0.35)
        axes.semilogy(*thinned(run.time_s, smooth), color=shade, linewidth=2.0)
        ends.append((run.time_s[-1], smooth[-1], run.label, shade))
    axes.set(
        xlabel="time [s]",
        ylabel=f"{_robot(runs).wording.error} error [mm]\n(thick: RMS of {RMS_WINDOW_S:g} s)",
        xlim=_time_range(runs),
    )
    lowest = min(float(np.percentile(run.error_m, 2)) for run in runs)
    axes.set_ylim(max(0.5e3 * lowest, _ERROR_FLOOR_MM), 2.0 * axes.get_ylim()[1])
    plain_log_ticks(axes.yaxis)
    _mark_events(axes, runs, labelled=True)
    label_ends(axes, ends)
    return figure


def estimates(name: str, runs: Sequence[RunLog]) -> Figure | None:
    """Draw the estimates of a report's quantities against the truth, one panel each; None without estimates.

    The band shows ±2 standard deviations. The panels of scored quantities are taller.
    """
    estimating = [run for run in runs if name in run.estimates]
    if not estimating:
        return None
    shown = estimating[0].estimates[name].report.quantities
    ratios = [2.2 if quantity.scored else 1.0 for quantity in shown]
    height = 0.6 + 1.1 * sum(ratios)
    figure, axes = new_figure(8.0, height, rows=len(shown), sharex=True, height_ratios=ratios, squeeze=False)
    for k, (quantity, panel) in enumerate(zip(shown, axes[:, 0], strict=True)):
        _draw_quantity(panel, estimating, name, k, quantity)
        _mark_events(panel, estimating, labelled=k == 0)
    axes[-1, 0].set(xlabel="time [s]", xlim=_time_range(estimating))
    return figure


def _draw_quantity(axes: Axes, runs: Sequence[RunLog], name: str, k: int, quantity: Quantity) -> None:
    """Draw a report's k-th quantity. An estimate is hidden where it is too uncertain for the span of the panel."""
    ends, drawn = [], []
    for i, run in enumerate(runs):
        estimate, shade = run.estimates[name], shade_of(runs, i)
        mean, std = estimate.mean[:, k], estimate.std[:, k]
        mean = mean if quantity.span is None else np.where(std < _CERTAIN * quantity.span, mean, np.nan)
        _band(axes, estimate.time_s, mean, std, shade)
        ends.append((estimate.time_s[-1], mean[-1], run.label, shade))
        drawn.append(mean)
    times, truth = _stepped(runs[0], name, k)
    axes.step(times, truth, where="post", **_TRUTH_LINE)
    ends.append((times[-1], truth[-1], "truth", TRUTH_COLOUR))
    axes.set_ylim(*_range(np.concatenate([*drawn, truth]), quantity.span))
    axes.set_ylabel(fill(f"{quantity.title} [{quantity.unit}]", 14) + ("\n(band: ±2 std)" if quantity.scored else ""))
    if quantity.scored:
        label_ends(axes, ends, gap=0.11)


def _range(values: Array, span: float | None) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if span is not None or not len(known):
        return -(span or 1.0), span or 1.0
    margin = 0.25 * max(float(np.ptp(known)), 0.1)
    return float(known.min()) - margin, float(known.max()) + margin


def _stepped(run: RunLog, name: str, k: int) -> tuple[Array, Array]:
    """True values of a quantity as a step curve up to the run's end; NaN if none were recorded."""
    if name not in run.truth:
        return run.time_s[[0, -1]], np.full(2, np.nan)
    truth = run.truth[name]
    return np.append(truth.time_s, run.time_s[-1]), np.append(truth.mean[:, k], truth.mean[-1, k])


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
    """Draw the effort of every channel as a share of its limit: one panel each."""
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


def external_forces(runs: Sequence[RunLog]) -> Figure | None:
    """Draw the external force that each run's controller estimated, and the contact state; None if there is none."""
    feeling = [(shade_of(runs, i), run, run.external) for i, run in enumerate(runs) if run.external is not None]
    if not feeling:
        return None
    figure, axes = new_figure(8.0, 3.8, rows=2, sharex=True, height_ratios=[2.2, 1.0])
    for shade, run, external in feeling:
        size_n = np.linalg.norm(external.force_n, axis=1)
        axes[0].plot(*thinned(external.time_s, size_n), color=shade, linewidth=1.2, label=run.label)
        axes[1].step(*thinned(external.time_s, external.contact), where="post", color=shade, linewidth=1.4)
    axes[0].set(ylabel="external force [N]", ylim=(0.0, None))
    axes[0].legend(frameon=False, fontsize=9)
    axes[1].set(xlabel="time [s]", xlim=_time_range(runs), ylim=(-0.3, 2.3))
    axes[1].set_yticks(range(3), [state.value for state in Contact])
    for k, panel in enumerate(axes):
        _mark_events(panel, runs, labelled=k == 0)
    return figure


def _robot(runs: Sequence[RunLog]) -> Robot:
    robot: Robot = load_robot(runs[0].robot)
    return robot


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


Draw = Callable[[Sequence[RunLog]], Figure | None]


def figures(robot: Robot) -> dict[str, tuple[str, Draw]]:
    """Figures of a robot's runs, name → (title, function): one for each report, one of angles if it has some."""
    angles = (
        {"angles": (f"{robot.wording.angles.capitalize()} errors", angle_errors)} if robot.wording.angle_names else {}
    )
    reports = {
        report.name: (f"{report.name.capitalize()}, as estimated while moving", partial(estimates, report.name))
        for report in robot.reports
    }
    return {
        "tracking": ("Tracking error", tracking_error),
        **reports,
        **angles,
        "efforts": ("Efforts", efforts),
        "external": ("External force, as estimated by the controller", external_forces),
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
