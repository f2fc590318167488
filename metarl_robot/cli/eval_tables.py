# SPDX-License-Identifier: Apache-2.0
"""Tables of an evaluation, made from its JSON form: medians with spread, ratios to rivals, scenarios, episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from metarl_robot.cli.console import NOTHING, number, table
from metarl_robot.core.quantities import Quantity
from metarl_robot.core.wording import Wording

_EQUAL_M = 5e-5
_RIVALS = ("oracle_mpc", "offset_free_mpc", "l1_mpc", "nominal_mpc")


class _Column(NamedTuple):
    field: str
    title: str
    scale: float
    spread: bool


_ANGLES = _Column("joint_rmse_after_rad", "angles after\n[mrad]", 1e3, False)
_COLUMNS = (
    _Column("rmse_before_m", "before\n[mm]", 1e3, True),
    _Column("rmse_transient_m", "first second\n[mm]", 1e3, True),
    _Column("rmse_after_m", "after\n[mm]", 1e3, True),
    _Column("rmse_after_m_worst", "worst\nafter [mm]", 1e3, False),
    _ANGLES,
    _Column("settle_s", "settled\n[s]", 1.0, False),
)
_DETECTED = _Column("false_changes_per_min", "false changes\n[1/min]", 1.0, True)
_MEASURES = (
    _Column("peak_contact_n", "peak force\n[N]", 1.0, False),
    _Column("velocity_violations", "velocity\nviolations", 1.0, False),
    _Column("external_wrench_s", "external\nwrench [s]", 1.0, False),
    _Column("progress_m_s", "progress\n[m/s]", 1.0, True),
    _Column("spins", "spins", 1.0, False),
)
_TIMES = (
    _Column("step_ms_median", "step\n[ms]", 1.0, False),
    _Column("step_ms_p99", "p99\n[ms]", 1.0, False),
)


def summary_table(result: dict[str, Any], words: Wording, reported: Sequence[Quantity]) -> Table:
    """Table with one line for each controller: medians over episodes, with the 10th to 90th percentile in brackets.

    reported: the robot's quantities; the errors of those that are scored have a column where there are estimates.
    """
    controllers = controllers_of(result)
    count = len(result["episodes"]) // max(len(controllers), 1)
    title = f"{result['robot']}, suite {result['suite']}: medians over {count} episodes (10th–90th percentile)"
    errors = [column for quantity in reported if quantity.scored for column in _error_columns(result, quantity)]
    optional = (_ANGLES, *errors, _DETECTED, *_MEASURES)
    columns = [
        c for c in (*_COLUMNS, *errors, _DETECTED, *_MEASURES, *_TIMES) if c not in optional or _has(result, c.field)
    ]
    crashes = any(row.get("crashed") for row in result["episodes"])
    view = table(
        title,
        (
            "controller",
            *(column.title for column in columns),
            "violations",
            "failed",
            *(["crashed"] if crashes else []),
        ),
        caption=f"Error of the {words.tracked}; 'after' is 1 to 5 s after the change; angles: {words.angles} error.",
    )
    for controller in controllers:
        rows = episodes_of(result, controller)
        cells = [_cell(rows, column, result["summary"][controller][column.field]) for column in columns]
        view.add_row(
            controller,
            *cells,
            _total(rows, "violations"),
            _total(rows, "failed_steps"),
            *([_total(rows, "crashed")] if crashes else []),
        )
    return view


def ratio_table(result: dict[str, Any]) -> Table | None:
    """Table of each controller's median error divided by that of each rival; None if no rival was run."""
    controllers = controllers_of(result)
    rivals = [rival for rival in _RIVALS if rival in controllers]
    if not rivals or len(controllers) < 2:
        return None
    fields = (("rmse_transient_m", "first second"), ("rmse_after_m", "after"))
    view = table(
        "Error as a multiple of a rival's",
        ("controller", *(f"of {rival}\n{name}" for rival in rivals for _, name in fields)),
    )
    for controller in controllers:
        view.add_row(controller, *(_ratio(result, controller, rival, field) for rival in rivals for field, _ in fields))
    return view


def scenario_table(result: dict[str, Any], field: str, title: str) -> Table:
    """Table of the median of an error: one line for each scenario, one column for each controller."""
    controllers = controllers_of(result)
    view = table(title, ("scenario", "episodes", *controllers))
    for scenario in dict.fromkeys(row["scenario"] for row in result["episodes"]):
        chosen = [row for row in result["episodes"] if row["scenario"] == scenario]
        count = len({row["seed"] for row in chosen})
        errors = [median([row for row in chosen if row["controller"] == name], field) for name in controllers]
        view.add_row(scenario, str(count), *(number(1e3 * error) for error in errors))
    return view


def episode_table(result: dict[str, Any]) -> Table:
    """Table with one line for each run: every controller's error, marked where meta_mpc is worse than its rivals."""
    controllers, runs = controllers_of(result), _runs(result)
    view = table("Error after the change by episode\n[mm]", ("scenario", "seed", *controllers, "worse than rivals"))
    for (scenario, seed), errors in runs.items():
        ratio = worse_than_rivals(errors)
        cells = (number(1e3 * errors[name]) if name in errors else NOTHING for name in controllers)
        view.add_row(scenario, str(seed), *cells, "" if ratio is None else f"{ratio:.2f}")
    return view


def worse_than_rivals(errors: dict[str, float]) -> float | None:
    """Error of meta_mpc over the larger one of offset_free_mpc and oracle_mpc; None unless it is worse by 5 %.

    Errors below _EQUAL_M count as equal.
    """
    rivals = [errors[name] for name in ("offset_free_mpc", "oracle_mpc") if name in errors]
    own = errors.get("meta_mpc")
    if own is None or not rivals or own <= max(1.05 * max(rivals), _EQUAL_M):
        return None
    return own / max(rivals)


def _runs(result: dict[str, Any]) -> dict[tuple[str, int], dict[str, float]]:
    """(scenario, seed) -> {controller: error after the change}."""
    runs: dict[tuple[str, int], dict[str, float]] = {}
    for row in result["episodes"]:
        runs.setdefault((row["scenario"], row["seed"]), {})[row["controller"]] = row["rmse_after_m"]
    return runs


def controllers_of(result: dict[str, Any]) -> tuple[str, ...]:
    """Controllers of an evaluation, in order."""
    return tuple(dict.fromkeys(row["controller"] for row in result["episodes"]))


def episodes_of(result: dict[str, Any], controller: str) -> list[dict[str, Any]]:
    """Episodes of one controller."""
    return [row for row in result["episodes"] if row["controller"] == controller]


def values_of(rows: Sequence[dict[str, Any]], field: str) -> np.ndarray[Any, Any]:
    """Finite values of a field; episodes without one (no estimate, never settled) are left out."""
    return np.array([row[field] for row in rows if row.get(field) is not None and np.isfinite(row[field])], dtype=float)


def median(rows: Sequence[dict[str, Any]], field: str) -> float:
    """Median of a field; NaN without values."""
    values = values_of(rows, field)
    return float(np.median(values)) if len(values) else float("nan")


def _cell(rows: Sequence[dict[str, Any]], column: _Column, middle: float | None) -> str:
    """The median, with the 10th to 90th percentile over the episodes in brackets."""
    values = column.scale * np.abs(values_of(rows, column.field))
    if middle is None or len(values) < 2 or not column.spread:
        return number(None if middle is None else column.scale * middle)
    low, high = np.percentile(values, (10, 90))
    return f"{number(column.scale * middle)} [dim]({number(low, 2)}–{number(high, 2)})[/]"


def _ratio(result: dict[str, Any], controller: str, rival: str, field: str) -> str:
    own, other = (median(episodes_of(result, name), field) for name in (controller, rival))
    return f"{own / other:.2f}" if other > 0.0 else NOTHING


def _total(rows: Sequence[dict[str, Any]], field: str) -> str:
    return str(int(sum(row[field] for row in rows)))


def _error_columns(result: dict[str, Any], quantity: Quantity) -> list[_Column]:
    """Columns of a quantity's errors, at all times at which they were scored."""
    name, title = quantity.error_name, f"{quantity.title} error"
    fields = [field for field in result["episodes"][0] if field == name or field.startswith(f"{name}_")]
    after = [field.removeprefix(name).strip("_").removesuffix("s") or "1" for field in fields]
    return [
        _Column(field, f"{title}\n{since} s [{quantity.unit}]", 1.0, True)
        for field, since in zip(fields, after, strict=True)
    ]


def _has(result: dict[str, Any], field: str) -> bool:
    return any(row.get(field) is not None for row in result["episodes"])
