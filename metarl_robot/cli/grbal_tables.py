# SPDX-License-Identifier: Apache-2.0
"""Tables of the GrBAL suite: errors and returns of the models, and the adapted model's differences to its rivals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from metarl_robot.cli.console import table

MODEL_NAMES = {
    "adapted": "adapted (meta-trained, gradient step)",
    "unadapted": "the same, without gradient steps",
    "plain": "trained plainly, not adapted",
    "fine_tuned": "trained plainly, fine-tuned",
}
_RETURNS = ("return", "return_unseen", "return_switch")
_ERRORS = ("k_step_error", "one_step_error")


def comparison_table(result: Mapping[str, Any]) -> Table:
    """One row for each model. result: as `metarl eval grbal --json` holds it."""
    hours, data = result["simulated_hours"], result["transitions"]
    title = f"{result['environment']}: {len(result['seeds'])} seeds, {result['planner']}"
    caption = f"trained on {data} transitions, {hours:.2f} h of simulated time; ± 95 % interval over seeds"
    columns = ("model", f"{result['predicted']}-step error [σ]", "1-step error [σ]", "return", "unseen task", "switch")
    view = table(title, columns, caption=caption)
    for name, score in result["models"].items():
        errors = [_cell(score, key, 3) for key in _ERRORS]
        view.add_row(MODEL_NAMES[name], *errors, *(_cell(score, key, 1) for key in _RETURNS))
    return view


def difference_table(result: Mapping[str, Any]) -> Table:
    """Differences of the adapted model to each rival in the same episodes."""
    columns = ("adapted minus", f"{result['predicted']}-step error [σ]", "1-step error [σ]", "return")
    view = table("Paired differences", columns, caption="errors: negative is better; return: positive is better")
    for name, score in result["adapted_minus"].items():
        view.add_row(MODEL_NAMES[name], *(_cell(score, key, 3) for key in _ERRORS), _cell(score, "return", 1))
    return view


def _cell(score: Mapping[str, float], key: str, decimals: int) -> str:
    return f"{score[f'{key}_mean']:.{decimals}f} ± {score[f'{key}_ci95']:.{decimals}f}"
