# SPDX-License-Identifier: Apache-2.0
"""`metarl eval --prediction`: how well adapters predict the residual of the rigid-body model after little data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from metarl_robot.cli.console import note, number, table
from metarl_robot.cli.progress import Report

if TYPE_CHECKING:
    from metarl_robot.core.checkpoint import Checkpoint
    from metarl_robot.core.robot import Robot


def predict(robot: Robot, checkpoint: Path | None, tasks: int, report: Report) -> dict[str, Any]:
    """Score all adapters that have weights on held-out tasks; see sim.scoring.prediction_scores for the result.

    Arguments:
        robot: the robot.
        checkpoint: weights of one adapter, in place of the shipped ones.
        tasks: number of tasks.
        report: receives the progress.

    Raises:
        CheckpointError: no weights, or weights of another robot.
    """
    from metarl_robot.sim.scoring import prediction_scores

    return prediction_scores(robot, _checkpoints(robot, checkpoint), tasks, progress=report)


def _checkpoints(robot: Robot, chosen: Path | None) -> list[Checkpoint]:
    """Load the chosen weights, and the shipped weights of the other adapter if they exist."""
    from metarl_robot.core.checkpoint import default_checkpoint, load_checkpoint

    loaded = load_checkpoint(chosen or default_checkpoint(robot), robot)
    other = "last_layer" if loaded.adapter == "maml" else "maml"
    shipped = default_checkpoint(robot, other)
    if not shipped.is_file():
        note(
            f"no rows of '{other}': no weights are shipped; train them with: metarl train {robot.name} --adapter "
            f"{other}"
        )
        return [loaded]
    both = {checkpoint.adapter: checkpoint for checkpoint in (loaded, load_checkpoint(shipped, robot))}
    return [both["last_layer"], both["maml"]]


def prediction_table(scores: Mapping[str, Any]) -> Table:
    """Table of the error of the predicted residual after little data, one line for each adapter."""
    rows = scores["rows"]
    windows = [score["window_ms"] for score in next(iter(rows.values()))]
    title = (
        f"Residual over the next {scores['horizon_ms']} ms, error on {scores['tasks']} held-out tasks [% of the "
        "joint's effort limit]"
    )
    caption = "Root mean square over tasks, in brackets the median task's; each mean over joints."
    view = table(title, ("adapter", *(f"after {window} ms" for window in windows)), caption=caption)
    for name, entries in rows.items():
        view.add_row(
            name,
            *(
                f"{number(e['rmse_percent_of_limit'])} [dim]({number(e['median_percent_of_limit'])})[/]"
                for e in entries
            ),
        )
    return view
