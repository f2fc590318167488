# SPDX-License-Identifier: Apache-2.0
"""`metarl eval grbal --env ENVIRONMENT`: prediction error and return of models that adapt and of models that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metarl_robot.cli.console import note, out, write_json
from metarl_robot.cli.grbal_tables import comparison_table, difference_table
from metarl_robot.cli.progress import progress
from metarl_robot.core.errors import MetaRLError, UnknownNameError

SUITE = "grbal"


def eval_grbal(
    environment: str | None,
    checkpoint: Path | None,
    seeds: range,
    planner: str | None,
    json: str | None,
    plot: Path | None,
) -> None:
    """Compare the models of a checkpoint. checkpoint: default: the shipped one. planner: default: that of training."""
    from metarl_robot.learning.grbal.checkpoint import load_grbal, shipped
    from metarl_robot.learning.grbal.environment import ENVIRONMENTS, load_environment
    from metarl_robot.learning.grbal.evaluate import evaluate

    if environment is None:
        raise MetaRLError(f"eval {SUITE}: which environment? Give --env; allowed: {', '.join(ENVIRONMENTS)}")
    if len(seeds) < 2:
        raise MetaRLError(f"--seeds {len(seeds)}: eval {SUITE} reports intervals over seeds; allowed: 2 and more")
    family = load_environment(environment)
    loaded = load_grbal(shipped(family.name) if checkpoint is None else checkpoint, family)
    planning = _planning(loaded.record.config, planner)
    with progress() as report:
        result = evaluate(family, loaded, seeds, planning, lambda k, total, text: report("seeds", k, total, text))
    if json is not None:
        write_json(result, json)
    if json != "-":
        for view in (comparison_table(result), difference_table(result)):
            out().print(view)
    if plot is not None:
        _draw(result, plot)


def _planning(config: Any, planner: str | None) -> Any:
    from dataclasses import replace
    from typing import get_args

    from metarl_robot.control.model_planner import Method

    if planner is None:
        return config.planning
    if planner not in get_args(Method):
        raise UnknownNameError("planner", planner, get_args(Method))
    return replace(config.planning, method=planner)


def _draw(result: dict[str, Any], plot: Path) -> None:
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_grbal import comparison

    with style():
        note(f"plot: {save(comparison(result), plot)}")
