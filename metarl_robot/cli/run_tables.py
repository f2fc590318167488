# SPDX-License-Identifier: Apache-2.0
"""Tables of recorded runs as rows of text, for the terminal (rich) and for the report (HTML)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from metarl_robot.cli.console import NOTHING, number, table
from metarl_robot.cli.run_metrics import PayloadResult, Result
from metarl_robot.core.wording import Wording


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
    angles = "attitude" if words.angles == "attitude" else "joints"
    columns = (
        "controller",
        "before\n[mm]",
        "first second\n[mm]",
        "after\n[mm]",
        f"{angles} after\n[mrad]",
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
        "after: 1 to 5 s."
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


def payload_table(results: Sequence[Result], words: Wording) -> TextTable:
    """Table of the true payload and of each controller's estimate."""
    columns = ("", "mass after 1 s\n[kg]", "mass at the end\n[kg]", "com x\n[mm]", "com y\n[mm]", "com z\n[mm]")
    rows = [Row(("truth", *_truth_cells(results[0].payload)))]
    rows += [Row((result.label, *_belief_cells(result.payload)), i) for i, result in enumerate(results)]
    remark = (
        f"Estimate ± one standard deviation; centre of mass (com) from the {words.site}. A dash: the controller "
        "estimates none."
    )
    return TextTable("Payload", columns, tuple(rows), remark)


def _truth_cells(payload: PayloadResult) -> tuple[str, ...]:
    return (*(f"{payload.true_mass_kg:.3f}",) * 2, *(f"{1e3 * value:.1f}" for value in payload.true_com_m))


def _belief_cells(payload: PayloadResult) -> tuple[str, ...]:
    belief = payload.belief
    if belief is None:
        return (NOTHING,) * 5
    masses = (
        _with_spread(belief.early_mass_kg, belief.early_mass_std_kg, 3),
        _with_spread(belief.mass_kg, belief.mass_std_kg, 3),
    )
    coordinates = zip(belief.com_m, belief.com_std_m, strict=True)
    return (*masses, *(_with_spread(1e3 * value, 1e3 * std, 1) for value, std in coordinates))


def _with_spread(value: float, std: float, digits: int) -> str:
    return f"{value:.{digits}f} ± {std:.{digits}f}" if value == value else NOTHING


def to_rich(text: TextTable) -> Table:
    """The table for a terminal."""
    view = table(text.title, text.columns, caption=text.remark)
    for row in text.rows:
        view.add_row(*map(escape, row.cells))
    return view


def tables(results: Sequence[Result], words: Wording) -> tuple[TextTable, TextTable, TextTable]:
    """Tables of errors, payloads and computation."""
    return error_table(results, words), payload_table(results, words), timing_table(results)
