# SPDX-License-Identifier: Apache-2.0
"""`metarl train`: simulates tasks, meta-trains the dynamics model and scores it on held-out tasks.

It writes a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli import settings
from metarl_robot.cli.console import examples, note, number, out, table, write_json
from metarl_robot.cli.device import AUTO, Device
from metarl_robot.cli.engine import Ray, engine
from metarl_robot.cli.interruption import deferred_interrupt
from metarl_robot.cli.prediction import prediction_table
from metarl_robot.cli.progress import Report, progress
from metarl_robot.core.atomic import file_name
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.learning.models.config import TrainConfig

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot
    from metarl_robot.parallel.engine import Engine
    from metarl_robot.sim.training import TrainReport

_MAIN = ("adapter", "tasks", "seed", "steps")
_EPILOG = examples(
    ("metarl train panda", "weights as shipped, into runs/train/panda"),
    ("metarl train my_arm", "your own robot: the weights go into its folder, where eval, demo and launch find them"),
    ("metarl train panda --resume", "continue an interrupted run; the result is the same"),
    ("metarl train planar2 --tasks 200 --steps 200 --out runs/quick", "quick: a minute"),
    ("metarl train panda --tasks 20000 --ray auto", "the tasks are simulated on a Ray cluster"),
    ("metarl train panda --adapter maml", "MAML on all weights, and its baselines"),
    ("metarl train my_arm --logs monday.mcap tuesday.mcap --force", "prior and noise levels from recordings"),
    (
        "metarl eval panda --checkpoint runs/train/panda/dynamics.safetensors",
        "closed-loop evaluation of the new weights",
    ),
    note="Ctrl-C loses nothing: the output folder keeps the state of the run until it is finished.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application, with an option for each field of TrainConfig."""
    app.command("train", epilog=_EPILOG)(settings.command(train, TrainConfig, first=_MAIN))


def train(
    *,
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A robot's name (metarl robots) or folder.")],
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Output folder; default: the robot's, or runs/train/<robot> for a shipped robot.",
        ),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
    logs: Annotated[
        list[Path] | None,
        typer.Option(
            "--logs",
            metavar="LOG...",
            help="Learn prior and noise from recordings instead (metarl log --help); the simulated weights are the "
            "start. Held-out recordings decide how much they change.",
        ),
    ] = None,
    log_map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="With --logs: map.yaml of the recordings.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --logs: replace weights, also those shipped with a robot.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run with the same options.")
    ] = False,
    score_tasks: Annotated[
        int, typer.Option(min=1, max=100_000, help="Held-out tasks of the scores; the weights do not depend on it.")
    ] = 200,
    device: Device = AUTO,
    ray: Ray = None,
    json: Annotated[bool, typer.Option("--json", help="Print the checkpoint's record on standard output.")] = False,
    **chosen: Any,
) -> None:
    """Meta-train a robot's dynamics model on simulated tasks, and score it on held-out tasks."""
    from metarl_robot.adaptation.adapter_spec import trained_adapters
    from metarl_robot.core.robot import load_robot

    loaded = load_robot(robot)
    trained = trained_adapters(loaded.kind)
    if chosen["adapter"] not in trained:
        raise UnknownNameError("adapter", chosen["adapter"], trained, f"kind {loaded.kind}")
    config = settings.read(TrainConfig, chosen)
    if more and not logs:
        raise MetaRLError(f"unexpected argument: {more[0]}; recordings follow --logs")
    if logs or log_map is not None or force:
        _train_on_logs(
            loaded, robot, config, [*(logs or []), *(more or [])], log_map, target, force, resume, json, device
        )
        return
    folder = target or (Path("runs", "train", file_name("robot", loaded.name)) if loaded.is_shipped else loaded.folder)
    with engine(ray) as cluster, progress() as report:
        done = _train(report, loaded, robot, config, folder, resume, score_tasks, cluster, device)
    _conclude(done, json)


def _train_on_logs(
    robot: Robot,
    name: str,
    config: TrainConfig,
    logs: Sequence[Path],
    log_map: Path | None,
    target: Path | None,
    force: bool,
    resume: bool,
    json: bool,
    device: str,
) -> None:
    from metarl_robot.cli import train_logs

    if not logs:
        raise MetaRLError("--map and --force are of recordings: name these with --logs LOG...")
    without = [settings.option_name(key) for key in config.model_dump(exclude_defaults=True)]
    without += [*(["--resume"] if resume else []), *(["--device"] if device != AUTO else [])]
    if without:
        raise MetaRLError(f"{', '.join(without)} has no effect with --logs: it keeps the features that were trained")
    kept = robot.is_shipped and not force
    folder = Path("runs", "train", file_name("robot", robot.name)) if kept else robot.folder
    train_logs.run(robot, name, logs, log_map, target or folder, force, json)


def _train(
    report: Report,
    robot: Robot,
    name: str,
    config: TrainConfig,
    folder: Path,
    resume: bool,
    score_tasks: int,
    cluster: Engine | None,
    device: str,
) -> TrainReport:
    try:
        from metarl_robot.sim import training
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MetaRLError("training needs torch, which is not installed: pip install 'metarl_robot[train]'") from error

    def show(phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        stop_if_asked()
        report(phase, done, total, "  ".join(f"{key} {number(value)}" for key, value in metrics.items()))

    try:
        with deferred_interrupt() as stop_if_asked:  # only between gradient steps
            return training.train(robot, config, folder, resume, show, score_tasks, cluster, device)
    except KeyboardInterrupt:
        again = training.command(robot, config).replace(f"train {robot.name}", f"train {name}", 1)
        again += "" if device == AUTO else f" --device {device}"
        note(f"continue with: {again} --out {folder} --resume", "interrupted")
        raise


def _conclude(done: TrainReport, json: bool) -> None:
    meta = done.checkpoint.meta
    figure = _draw(done)
    if json:
        write_json({"file": done.path, **meta})
    else:
        console = out()
        console.print(_fit_table(done))
        console.print(prediction_table(meta["scores"]["prediction"]))
    note(f"checkpoint: {done.path}\nfigure: {figure}")


def _draw(done: TrainReport) -> Path:
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_training import training

    with style():
        curves = {name: fit.curve for name, fit in done.fits.items()}
        return save(training(curves, done.checkpoint.meta["scores"]["prediction"]), done.path.with_suffix(".svg"))


def _fit_table(done: TrainReport) -> Any:
    view = table("Training", ("", "steps", "loss at first", "loss at last", "time\n[s]"))
    for name, fit in done.fits.items():
        first, last = (_mean([loss for _, loss in part]) for part in (fit.curve[:3], fit.curve[-3:]))
        view.add_row(name, str(fit.curve[-1][0]), number(first), number(last), number(fit.seconds))
    return view


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
