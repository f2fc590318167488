# SPDX-License-Identifier: Apache-2.0
"""Tables of recordings: results of a check, and prediction errors of adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from metarl_robot.cli.console import NOTHING, number, table

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot
    from metarl_robot.logs.check import Report
    from metarl_robot.logs.flight_check import FlightReport

_COLOURS = {"fault": "bold red", "warning": "yellow", "note": "dim"}


def recordings_table(robot: Robot, reports: Sequence[Report]) -> Table:
    """One line for each recording: timing, consistency, delay."""
    columns = (
        *("recording", "duration\n[s]", "rate\n[Hz]", "jitter\n[ms]", "gaps", "longest\n[s]", "outliers"),
        *("left out,\nrepaired", "v over\nΔq / Δt", "delay of\nefforts [ms]"),
    )
    view = table(f"{robot.name}: recordings", columns)
    for report in reports:
        view.add_row(
            escape(report.source),
            number(report.duration_s),
            number(report.rate_hz),
            number(1e3 * report.jitter_s, 2),
            str(report.gaps),
            number(report.longest_gap_s) if report.gaps else NOTHING,
            str(report.outliers),
            str(sum(repair.count for repair in report.repairs)),
            number(report.velocity_slope),
            number(1e3 * report.delay_s, 2),
        )
    return view


def joints_table(robot: Robot, report: Report) -> Table:
    """One line for each joint: noise, range, and efforts against the nominal model's."""
    columns = (
        *("joint", "range\n[rad]", "speed\n[rad/s]", "noise of q\n[mrad]", "of v\n[mrad/s]", "of effort\n[Nm]"),
        *("|Δq - v Δt|\n/ |Δq|", "effort over\ngravity", "over\nmotion", "Coulomb\n[Nm]", "missed\n[Nm]"),
    )
    caption = (
        "Noise: white. Effort over gravity, motion: slopes against the nominal model's, 1 if all is right, – if "
        "not observable. Missed: force that the nominal model does not explain."
    )
    view = table(report.source, columns, caption=caption)
    rows = zip(
        robot.channel_names,
        *(report.reach, report.speed, 1e3 * report.position_noise, 1e3 * report.velocity_noise, report.effort_noise),
        *(report.inconsistency, report.gravity_slope, report.motion_slope, report.coulomb, report.missed),
        strict=True,
    )
    for name, *values in rows:
        view.add_row(name, *(number(float(value), 2) for value in values))
    return view


def flights_table(robot: Robot, reports: Sequence[FlightReport]) -> Table:
    """One line for each flight: timing, agreement of the signals, thrust."""
    columns = (
        *("recording", "duration\n[s]", "flying\n[s]", "rate\n[Hz]", "gaps", "noise of\nposition [mm]"),
        *("|Δp/Δt - v|\n[m/s]", "|turn - rate|\n[rad/s]", "|f - Rᵀ(dv/dt - g)|\n[m/s²]"),
        *("force over\nthrusts", "delay of\nthrusts [ms]"),
    )
    caption = "Root mean squares of means over 0.1 s. Force over thrusts: 1 if mass, thrusts and battery are right."
    view = table(f"{robot.name}: recordings", columns, caption=caption)
    for report in reports:
        values = (report.velocity_error, report.rate_error, report.force_error, report.force_over_thrust)
        view.add_row(
            escape(report.source),
            number(report.duration_s),
            number(report.airborne_s),
            number(report.rate_hz),
            str(report.gaps),
            number(1e3 * float(report.position_noise.mean()), 2),
            *(number(value, 2) for value in values),
            number(1e3 * report.delay_s, 2),
        )
    return view


def verdict_lines(reports: Sequence[Report | FlightReport]) -> list[str]:
    """The verdict on each recording, and its reasons, with markup."""
    lines = []
    for report in reports:
        lines.append(f"{escape(report.source)}: [bold]{report.verdict}[/]")
        for finding in report.findings:
            lines.append(f"  [{_COLOURS[finding.level]}]{finding.level}[/]: {escape(finding.text)}")
        known = zip(getattr(report, "parameters", ()), getattr(report, "parameter_std", ()), strict=True)
        best = ", ".join(f"{name} ±{number(float(std), 2)}" for name, std in known if "mass" in name)
        if best:
            lines.append(f"  smallest possible standard deviation with this motion: {best}")
    return lines


def scores_table(document: dict[str, Any]) -> Table:
    """One line for each predictor: errors of the force over the next half second, and of the next velocity."""
    from metarl_robot.logs.scores import AFTER_S

    logs, horizon = len(document["logs"]), document["horizon_s"]
    title = (
        f"{document['robot']}, {logs} log{'s' if logs > 1 else ''}: force that the nominal model misses over the next "
        f"{horizon:g} s, error of its prediction [% of the effort limit]"
    )
    caption = (
        "Root mean square over the predictions from that time until the next column's, mean over joints; in brackets "
        "over the nominal model's. Bold: the best. Below 'ridge': adapters, which got samples at "
        f"{_rates([log['rate_hz'] for log in document['logs']])} Hz. Next velocity: root mean square over all."
    )
    columns = ("predictor", *(f"after {after:g} s" for after in AFTER_S), "next velocity\n[mrad/s]")
    view = table(title, columns, caption=caption)
    best = [_least(document, i) for i in range(len(AFTER_S))]
    for name, row in document["rows"].items():
        cells = [_score(entry, name == best[i]) for i, entry in enumerate(row["after"])]
        view.add_row(name, *cells, number(1e3 * row["next_velocity_rad_s"]))
    return view


def _rates(rates_hz: Sequence[float]) -> str:
    """One rate, or the least and the largest."""
    least, most = (number(of(rates_hz)) for of in (min, max))
    return least if least == most else f"{least} to {most}"


def _score(entry: dict[str, Any] | None, best: bool) -> str:
    if entry is None:
        return NOTHING
    error = number(entry["error_percent_of_limit"])
    return f"{f'[bold]{error}[/]' if best else error} [dim]({entry['over_nominal']:.2f})[/]"


def _least(document: dict[str, Any], i: int) -> str | None:
    errors = {name: row["after"][i] for name, row in document["rows"].items() if row["after"][i] is not None}
    return min(errors, key=lambda name: errors[name]["error_percent_of_limit"], default=None)


def estimates_table(robot: Robot, document: dict[str, Any]) -> Table:
    """Estimates at the end of each log, with their standard deviations; one line for each predictor that has some."""
    titles = [f"{quantity.title} [{quantity.unit}]" for report in robot.reports for quantity in report.quantities]
    view = table("Estimates at the end of each log, ± standard deviation", ("log", "predictor", *titles))
    for log in document["logs"]:
        for name, reports in log["estimates"].items():
            values = [
                _estimate(float(mean), float(std))
                for report in robot.reports
                if report.name in reports
                for mean, std in zip(reports[report.name]["mean"][-1], reports[report.name]["std"][-1], strict=True)
            ]
            view.add_row(escape(log["source"]), name, *values)
    return view


def _estimate(mean: float, std: float) -> str:
    return f"{mean:.3f} ± {std:.3f}" if np.isfinite(mean) else NOTHING
