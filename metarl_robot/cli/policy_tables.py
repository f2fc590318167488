# SPDX-License-Identifier: Apache-2.0
"""Table of a policy's returns before and after adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from metarl_robot.cli.console import table
from metarl_robot.control.policy_layout import RECURRENT

_COLUMNS = {
    "return": "return, mean of tasks",
    "gain": "gain since step 0",
    "success_percent": "successful episodes [%]",
}


def step_name(algo: str) -> str:
    """What a policy adapts by: gradient steps, or episodes through which a recurrent one has kept its state."""
    return "episodes before" if algo in RECURRENT else "gradient steps"


def steps_table(title: str, result: Mapping[str, Any]) -> Table:
    """One row for each step of an adaptation. result: with `algo` and `steps`, as `eval-policy --json` prints it."""
    scores = result["steps"]
    shown = [name for name in _COLUMNS if any(f"{name}_mean" in score for score in scores.values())]
    columns = [column for name in shown for column in (_COLUMNS[name], "95 % interval")]
    view = table(title, (step_name(result["algo"]), *columns))
    for step, score in scores.items():
        view.add_row(step, *(cell for name in shown for cell in _cells(score, name)))
    return view


def _cells(score: Mapping[str, float], name: str) -> tuple[str, str]:
    """A mean and its interval; empty where the step has none."""
    if f"{name}_mean" not in score:
        return "", ""
    return f"{score[f'{name}_mean']:.2f}", f"± {score[f'{name}_ci95']:.2f}"
