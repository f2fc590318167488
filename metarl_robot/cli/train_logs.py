# SPDX-License-Identifier: Apache-2.0
"""`metarl train ROBOT --logs LOG…`: weights from recordings, with scores on recordings that they have not seen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from metarl_robot.cli.console import note, out, write_json
from metarl_robot.cli.progress import progress
from metarl_robot.core.errors import MetaRLError

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot
    from metarl_robot.logs.log_training import LogTraining


def run(
    robot: Robot,
    name: str,
    logs: Sequence[Path],
    log_map: Path | None,
    folder: Path,
    force: bool,
    json: bool,
) -> None:
    """Train, report, and write the weights where they predict held-out recordings better than the simulated ones."""
    from metarl_robot.cli.logs import read_recordings
    from metarl_robot.core.checkpoint import default_checkpoint, save_checkpoint
    from metarl_robot.logs.log_training import ADAPTER, train_on_logs

    path = folder / default_checkpoint(robot, ADAPTER).name
    if path.exists() and not force:
        raise MetaRLError(f"{path} exists: choose another --out, or replace it with --force")
    loaded, recordings = read_recordings(name, logs, log_map)
    with progress() as report:
        done = train_on_logs(loaded, recordings, progress=report)
    if not json:
        _print(loaded, done)
    if not done.helps:
        if json:
            write_json(done.document)
        said = "held-out recordings are predicted no better than with the simulated weights; nothing is written"
        note(f"{said}: record more conditions, or longer and faster motions", "error", "bold red")
        raise typer.Exit(1)
    scores = {key: done.document[key] for key in ("rows", "log_evidence_over_simulated")}
    command = " ".join(["metarl train", shlex.quote(name), "--logs", *(shlex.quote(str(log)) for log in logs)])
    record = {**done.weights.meta, "command": command, "scores": {"held_out_logs": scores}}
    made = save_checkpoint(path, loaded, ADAPTER, done.weights.tensors, record)
    if json:
        write_json({"file": path, **made.meta})
    found = folder.resolve() == loaded.folder.resolve()
    note(f"checkpoint: {path}" + ("" if found else f"\nuse it with: --checkpoint {path}"))


def _print(robot: Robot, done: LogTraining) -> None:
    from metarl_robot.cli.log_tables import scores_table

    console, evidence = out(), done.document["log_evidence_over_simulated"]
    console.print(scores_table(done.document))
    best = max(evidence.values())
    tried = ", ".join(f"{weight}: {value:+.1f}" for weight, value in evidence.items())
    console.print(
        f"'(logs)': weights from the other recordings. Log-evidence of held-out recordings over that of the simulated "
        f"prior, by the number of recordings as which the simulated tasks count: {tried}. Chosen: {_words(done)} "
        f"({best:+.1f}). Errors of last_layer (logs) over those of last_layer: {done.over_simulated:.2f}.",
        highlight=False,
    )


def _words(done: LogTraining) -> str:
    return f"{done.weight:g}" if done.weight < float("inf") else "the simulated prior"
