# SPDX-License-Identifier: Apache-2.0
"""`metarl train-policy`: trains a policy that adapts to the tasks of a family, and scores it on held-out tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli import settings
from metarl_robot.cli.console import examples, note, number, out, write_json
from metarl_robot.cli.device import AUTO, Device
from metarl_robot.cli.engine import Ray, engine
from metarl_robot.cli.interruption import deferred_interrupt
from metarl_robot.cli.policy_tables import steps_table
from metarl_robot.cli.progress import progress
from metarl_robot.core.atomic import file_name
from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.policies.config import PolicyConfig

if TYPE_CHECKING:
    from metarl_robot.learning.policies.family import Family
    from metarl_robot.learning.policies.run import PolicyReport
    from metarl_robot.parallel.engine import Engine

_MAIN = ("algo", "seed", "iterations")
_EPILOG = examples(
    ("metarl train-policy point-navigation", "MAML by policy gradients, weights as shipped: minutes"),
    ("metarl train-policy point-navigation --algo pg --iterations 200", "the baseline, which is fine-tuned later"),
    ("metarl train-policy point-navigation --resume", "go on where an interrupted run stopped: the result is the same"),
    ("metarl train-policy half-cheetah-direction --tasks 40 --inner-rate 0.1", "a simulated robot: hours"),
    ("metarl train-policy panda-reach --algo rl2 --episodes 2 --discount 0.95", "for the controller meta_policy"),
    ("metarl train-policy half-cheetah-direction --groups 8 --ray auto", "its episodes on a Ray cluster"),
    ("metarl train-policy point-navigation --algo rl2 --engine rllib", "by RLlib's PPO, as with --ray auto"),
    note="Families: point-navigation, half-cheetah-direction, -velocity, -cripple and -slope, ant-cripple, arm-mass, "
    "arm-force, lunar-lander, highway-racetrack, metaworld:ML10, metaworld:ML1-<environment>, <arm>-reach, "
    "<car>-drive, and those of other packages (entry points of metarl_robot.task_families). The run's state is saved "
    "after every iteration: Ctrl-C and a killed process lose at most the last one.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application, with an option for each field of PolicyConfig."""
    app.command("train-policy", epilog=_EPILOG)(settings.command(train_policy, PolicyConfig, first=_MAIN))


def train_policy(
    *,
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="A family of tasks; see below.")],
    target: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; default: runs/policies/<family>.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run with the same options stopped.")
    ] = False,
    device: Device = AUTO,
    ray: Ray = None,
    json: Annotated[bool, typer.Option("--json", help="Print the checkpoint's record on standard output.")] = False,
    **chosen: Any,
) -> None:
    """Train a policy that adapts to the tasks of a family, and score it on held-out tasks."""
    from metarl_robot.learning.policies.algorithm import check_algorithm
    from metarl_robot.learning.policies.family import load_family

    loaded = load_family(family)
    config = settings.read(PolicyConfig, chosen)
    if ray is not None and config.groups == 1:
        raise MetaRLError(
            "--ray with --groups 1 would run on one processor: give --groups N, such as the number of the cluster's "
            "processors. It is part of the result: a run on this machine with the same --groups gives the same weights"
        )
    check_algorithm(config)
    folder = target or Path("runs", "policies", file_name("task family", loaded.name.replace(":", "-")))
    with engine("auto" if ray is None and config.engine == "rllib" else ray) as cluster:
        done = _train(loaded, config, folder, resume, cluster, device)
    _conclude(done, json)


def _train(
    family: Family, config: PolicyConfig, folder: Path, resume: bool, cluster: Engine | None, device: str
) -> PolicyReport:
    from metarl_robot.learning.policies import run

    try:
        with progress() as report, deferred_interrupt() as stop_if_asked:  # only between iterations

            def show(done: int, total: int, metrics: dict[str, float]) -> None:
                report("train", done, total, "  ".join(f"{key} {number(value)}" for key, value in metrics.items()))
                stop_if_asked()

            return run.train(family, config, folder, resume, show, cluster, device)
    except KeyboardInterrupt:
        again = run.command(family, config) + ("" if device == AUTO else f" --device {device}")
        note(f"go on with: {again} --out {folder} --resume", "interrupted")
        raise


def _conclude(done: PolicyReport, json: bool) -> None:
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_policy import training

    meta = done.checkpoint.meta
    with style():
        figure = save(training(done.curve, meta), done.path.with_suffix(".png"))
    if json:
        write_json({"file": done.path, **meta})
    else:
        out().print(steps_table(f"{meta['family']}, {meta['algo']}: held-out tasks", {**meta, **meta["scores"]}))
    note(f"checkpoint: {done.path}\nlearning curve: {done.curve}\nfigure: {figure}")
