# SPDX-License-Identifier: Apache-2.0
"""Tables of recorded runs as rows of text, for the terminal (rich) and for the report (HTML)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from metarl_robot.cli.console import NOTHING, number, table
from metarl_robot.cli.run_metrics import ReportResult, Result
from metarl_robot.core.quantities import Quantity
from metarl_robot.core.wording import Wording
from metarl_robot.sim.settling import RMS_WINDOW_S


@dataclass(frozen=True)
class Row:
    """Cells of one line. run: index of its run; None for the truth."""

    cells: tuple[str, ...]
    run: int | None = None


@dataclass(frozen=True)
class TextTable:
    """Title, column names, rows, and a remark."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    remark: str


def error_table(results: Sequence[Result], words: Wording) -> TextTable:
    """Table of tracking errors before, just after and long after the first change, and after each later change."""
    stages = [column for stage in results[0].stages for column in (f"{stage.event.what}:\nfirst s [mm]", "after\n[mm]")]
    columns = (
        "controller",
        "before\n[mm]",
        "first second\n[mm]",
        "after\n[mm]",
        f"{words.angles} error after\n[mrad]",
        "settled in\n[s]",
        *stages,
    )
    rows = []
    for i, result in enumerate(results):
        score = result.score
        errors = (score.rmse_before_m, score.rmse_transient_m, score.rmse_after_m, score.joint_rmse_after_rad)
        later = (1e3 * error for stage in result.stages for error in (stage.rmse_transient_m, stage.rmse_after_m))
        cells = (result.label, *map(_milli, errors), number(score.settle_s), *map(number, later))
        rows.append(Row((*cells, str(score.violations) + (", crashed" if score.crashed else "")), i))
    remark = (
        f"Root-mean-square distance of the {words.tracked} from its reference; first second: 0 to 1 s after a change; "
        f"after: 1 to 5 s. Settled: the RMS of {RMS_WINDOW_S:g} s stays below "
        f"{number(1e3 * results[0].score.settled_within_m)} mm."
    )
    return TextTable("Tracking error", (*columns, "violations"), tuple(rows), remark)


def _milli(value: float | None) -> str:
    return number(None if value is None else 1e3 * value)


def timing_table(results: Sequence[Result]) -> TextTable:
    """Table of step times, missed deadlines and failed steps."""
    columns = ("controller", "step median\n[ms]", "step p99\n[ms]", "missed\ndeadlines", "failed\nsteps", "steps")
    rows = [
        Row(
            (
                result.label,
                number(result.score.step_ms_median),
                number(result.score.step_ms_p99),
                str(result.missed_deadlines),
                str(result.score.failed_steps),
                str(result.steps),
            ),
            i,
        )
        for i, result in enumerate(results)
    ]
    remark = (
        "One step: everything between the measured state and the command. Missed: sent later than one control period "
        "after the state."
    )
    return TextTable("Computation", columns, tuple(rows), remark)


def report_tables(results: Sequence[Result]) -> dict[str, TextTable]:
    """Tables of true values and estimates by report's name, of reports that are scored or estimated."""
    columns = zip(*(result.reports for result in results), strict=True)
    return {
        each[0].report.name: _report_table([result.label for result in results], each)
        for each in columns
        if any(quantity.scored for quantity in each[0].report.quantities) or any(result.last for result in each)
    }


def _report_table(labels: Sequence[str], results: Sequence[ReportResult]) -> TextTable:
    columns = [f"{early}{each.title}\n[{each.unit}]" for each, early in _shown(results[0])]
    rows = [Row(("truth", *(f"{value:.{each.decimals}f}" for each, value, _ in _cells(results[0], True))))]
    rows += [
        Row((label, *(_with_spread(value, std, each.decimals) for each, value, std in _cells(result, False))), i)
        for i, (label, result) in enumerate(zip(labels, results, strict=True))
    ]
    remark = (
        "At the end of the run; early: one second after the last change. Estimate ± one standard deviation. A dash: "
        "the controller estimates none."
    )
    return TextTable(results[0].report.name.capitalize(), ("", *columns), tuple(rows), remark)


def _shown(result: ReportResult) -> list[tuple[Quantity, str]]:
    """Quantities in the order of the columns; those that are scored have one for the early estimate, too."""
    return [(each, early) for each in result.report.quantities for early in (("early ", "") if each.scored else ("",))]


def _cells(result: ReportResult, true_values: bool) -> Iterator[tuple[Quantity, float, float]]:
    """(quantity, value, standard deviation) of each column; NaN without one."""
    places = {each.name: i for i, each in enumerate(result.report.quantities)}
    for each, early in _shown(result):
        i, estimate = places[each.name], result.early if early else result.last
        if true_values:
            yield each, float(result.truth[i]), 0.0
        elif estimate is None:
            yield each, math.nan, math.nan
        else:
            yield each, float(estimate.mean[i]), float(estimate.std[i])


def _with_spread(value: float, std: float, digits: int) -> str:
    return f"{value:.{digits}f} ± {std:.{digits}f}" if value == value else NOTHING


def to_rich(text: TextTable) -> Table:
    """The table for a terminal."""
    view = table(text.title, text.columns, caption=text.remark)
    for row in text.rows:
        view.add_row(*map(escape, row.cells))
    return view


def tables(results: Sequence[Result], words: Wording) -> tuple[TextTable, ...]:
    """Tables of errors, reports and computation."""
    return error_table(results, words), *report_tables(results).values(), timing_table(results)
