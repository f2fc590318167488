# SPDX-License-Identifier: Apache-2.0
"""Questions at a terminal for guessed values; Enter keeps the guess."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from metarl_robot.robots.new_robot.findings import Findings

_QUESTIONS = {
    "driven": ("joints", "driven joints (NAME,…)"),
    "frame": ("flange", "site or link that carries the payload"),
    "rated mass": ("payload_kg", "rated payload [kg]"),
    "velocity": ("velocity", "velocity limits (one, one for each, or NAME=VALUE,…)"),
    "effort": ("effort", "effort limits (one, one for each, or NAME=VALUE,…)"),
    "mass": ("mass_kg", "mass [kg]"),
    "propeller's radius": ("propeller_m", "propellers' diameter [m]"),
    "home": ("home", "start position (one for each, or NAME=VALUE,…)"),
}
_NUMBERS = ("payload_kg", "mass_kg", "propeller_m")


def is_interactive() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(findings: Findings) -> dict[str, Any]:
    """Fields of Options that the user gives instead of guesses."""
    answers: dict[str, Any] = {}
    for what, (field, question) in _QUESTIONS.items():
        guessed = [value.value for value in findings.guesses if value.what == what]
        if not guessed:
            continue
        answer = typer.prompt(f"{question}; guessed: {', '.join(guessed)}; Enter keeps", default="", show_default=False)
        if answer.strip():
            answers[field] = _read(field, answer.strip())
    return answers


def _read(field: str, answer: str) -> Any:
    from metarl_robot.robots.new_robot.options import joint_values

    if field == "joints":
        return tuple(part.strip() for part in answer.split(","))
    return joint_values(field, answer, ("value",))["value"] if field in _NUMBERS else answer
