# SPDX-License-Identifier: Apache-2.0
"""Table of a policy's returns before and after adaptation."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from metarl_robot.cli.console import table


def steps_table(title: str, steps: Mapping[str, Mapping[str, float]]) -> Table:
    """One row for each number of gradient steps."""
    view = table(title, ("gradient steps", "return, mean of tasks", "95 % interval"))
    for step, score in steps.items():
        view.add_row(step, f"{score['return_mean']:.2f}", f"± {score['return_ci95']:.2f}")
    return view
