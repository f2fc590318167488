# SPDX-License-Identifier: Apache-2.0
"""`metarl train-grbal`: trains a dynamics model that adapts by gradient steps, and its rival, and compares them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli import settings
from metarl_robot.cli.console import examples, note, number, out, write_json
from metarl_robot.cli.grbal_tables import comparison_table, difference_table
from metarl_robot.cli.interruption import deferred_interrupt
from metarl_robot.cli.progress import Report, progress
from metarl_robot.learning.grbal.config import GrbalConfig

if TYPE_CHECKING:
    from metarl_robot.learning.grbal.environment import AdaptationFamily
    from metarl_robot.learning.grbal.run import GrbalReport

_TUNING_SEED = 1000
"""First seed of the comparison after training; those of metarl eval grbal begin at 0."""
_MAIN = ("seed", "iterations", "planner")
_EPILOG = examples(
    ("metarl train-grbal half-cheetah-cripple", "a running robot with a dead motor: minutes on one core"),
    ("metarl train-grbal arm-mass --iterations 20", "an arm with an unknown payload, more data than by default"),
    ("metarl train-grbal arm-mass --resume", "go on where an interrupted run stopped: the result is the same"),
    ("metarl eval grbal --env arm-mass --checkpoint runs/grbal/arm-mass.safetensors", "compare again, on more seeds"),
    note="Environments: half-cheetah-cripple, half-cheetah-slope, arm-mass, arm-force, ant-cripple. A round collects "
    "episodes under sampling MPC and trains two networks on all episodes so far: one by MAML, which adapts to the last "
    "M transitions in every step, and one plainly. The run's state is saved after every round: Ctrl-C and a killed "
    "process lose at most the last one.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application, with an option for each field of GrbalConfig."""
    app.command("train-grbal", epilog=_EPILOG)(settings.command(train_grbal, GrbalConfig, first=_MAIN))


def train_grbal(
    *,
    environment: Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="An environment; see below.")],
    target: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("runs/grbal"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run with the same options stopped.")
    ] = False,
    score_seeds: Annotated[
        int, typer.Option(min=2, max=10_000, help="Draws of the comparison at the end; each has two episodes.")
    ] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print record and comparison on standard output.")] = False,
    **chosen: Any,
) -> None:
    """Train a dynamics model that adapts within an episode, and compare it with models that do not."""
    from metarl_robot.learning.grbal.environment import load_environment

    family, config = load_environment(environment), settings.read(GrbalConfig, chosen)
    with progress() as report:
        done = _train(family, config, target, resume, report)
        scores = _score(family, done, range(_TUNING_SEED, _TUNING_SEED + score_seeds), report)
    _conclude(done, scores, json)


def _train(family: AdaptationFamily, config: GrbalConfig, folder: Path, resume: bool, report: Report) -> GrbalReport:
    from metarl_robot.learning.grbal import run

    try:
        with deferred_interrupt() as stop_if_asked:  # only between rounds

            def show(done: int, total: int, metrics: dict[str, float]) -> None:
                report("train", done, total, "  ".join(f"{key} {number(value)}" for key, value in metrics.items()))
                stop_if_asked()

            return run.train(family, config, folder, resume, show)
    except KeyboardInterrupt:
        note(f"go on with: {run.command(family, config)} --out {folder} --resume", "interrupted")
        raise


def _score(family: AdaptationFamily, done: GrbalReport, seeds: range, report: Report) -> dict[str, Any]:
    from metarl_robot.learning.grbal.evaluate import evaluate

    return evaluate(family, done.checkpoint, seeds, progress=lambda k, total, text: report("compare", k, total, text))


def _conclude(done: GrbalReport, scores: dict[str, Any], json: bool) -> None:
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_grbal import training

    with style():
        figure = save(training(done.curve, scores), done.path.with_suffix(".png"))
    if json:
        write_json({"file": done.path, **done.checkpoint.meta, "scores": scores})
    else:
        for view in (comparison_table(scores), difference_table(scores)):
            out().print(view)
    note(f"checkpoint: {done.path}\nlearning curve: {done.curve}\nfigure: {figure}")
