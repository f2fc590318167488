# SPDX-License-Identifier: Apache-2.0
"""Table of a policy's returns before and after adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from metarl_robot.cli.console import table
from metarl_robot.control.policy_layout import RECURRENT


def step_name(algo: str) -> str:
    """What a policy adapts by: gradient steps, or episodes through which a recurrent one has kept its state."""
    return "episodes before" if algo in RECURRENT else "gradient steps"


def steps_table(title: str, result: Mapping[str, Any]) -> Table:
    """One row for each step of an adaptation. result: with `algo` and `steps`, as `eval-policy --json` prints it."""
    solved = all("success_percent_mean" in score for score in result["steps"].values())
    columns = (step_name(result["algo"]), "return, mean of tasks", "95 % interval")
    view = table(title, (*columns, "successful episodes [%]", "95 % interval") if solved else columns)
    for step, score in result["steps"].items():
        names = ("return", "success_percent") if solved else ("return",)
        cells = [(f"{score[f'{name}_mean']:.2f}", f"± {score[f'{name}_ci95']:.2f}") for name in names]
        view.add_row(step, *(cell for pair in cells for cell in pair))
    return view
