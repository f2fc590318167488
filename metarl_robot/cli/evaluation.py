# SPDX-License-Identifier: Apache-2.0
"""`metarl eval`: closed loop in MuJoCo without ROS; every controller gets the same runs of a suite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import examples, note, out, parse_names, write_json
from metarl_robot.cli.demo_options import read_settings
from metarl_robot.cli.engine import Ray, engine
from metarl_robot.cli.eval_grbal import SUITE as GRBAL
from metarl_robot.cli.eval_grbal import eval_grbal
from metarl_robot.cli.progress import Report, progress
from metarl_robot.core.errors import MetaRLError

if TYPE_CHECKING:
    from metarl_robot.parallel.engine import Engine

_EPILOG = examples(
    ("metarl eval panda", "all controllers on held-out tasks"),
    ("metarl eval x500", "a quadrotor: wind, payload, a weak rotor"),
    ("metarl eval planar2 --controllers pid,computed_torque --seeds 2", "quick: seconds"),
    ("metarl eval panda --suite extrapolation --plot result.svg", "beyond the training distribution, with a figure"),
    ("metarl eval panda --suite mismatch --episodes", "an arm with links that differ from its model, run by run"),
    ("metarl eval panda --seeds 100 --ray 10.0.0.1:6379", "the episodes on a Ray cluster"),
    (
        "metarl eval f1tenth --set tyre=contact",
        "vehicles on wheels in contact: physics unknown to their weights",
    ),
    ("metarl eval grbal --env half-cheetah-cripple", "models that adapt and models that do not, in an environment"),
    ("metarl eval panda --prediction", "prediction scores of the adapters after little data"),
    ("metarl eval panda --json - > results.json", "for programs: only JSON on standard output"),
    note="Suites: train, heldout (unseen draws from the same ranges), extrapolation (beyond them), nominal (no "
    "disturbance). Arms: mismatch (links wrong by 30 %), friction (as on real arms), sensors (noise, late or lost "
    "measurements), long (38 s a run: four times the computation), contact, overload. Quadrotors: mismatch, sensors, "
    "contact, upset (starts upside down). Vehicles: obstacles, surfaces (ice patches), laps (fastest laps), "
    "sensors (wheels that slip, with and without an IMU). Never tune "
    "on seeds below 1000. The same seeds give the same results on any number of processes; only step times vary. "
    "metarl eval grbal takes --env, --planner, --seeds, --first-seed, --checkpoint, --json and --plot; metarl "
    "train-grbal makes its weights.",
)

_SUITE = "heldout"
_OF_GRBAL = "Options of metarl eval grbal"
_SET = (
    "A condition of every run, as the plant node's task.<name>; a wrong name lists the valid ones. May be given "
    "several times."
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("eval", epilog=_EPILOG)(evaluate)


def evaluate(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A robot's name (metarl robots) or folder, or grbal.")],
    suite: Annotated[str, typer.Option(help="Suite of runs; see below.")] = _SUITE,
    controllers: Annotated[str | None, typer.Option(help="Controllers, separated by commas; default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Number of draws of each scenario.")] = 8,
    first_seed: Annotated[int, typer.Option(min=0, max=1_000_000, help="Seed of the first draw.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, max=1024, help="Number of processes; 0: one per processor.")] = 0,
    ray: Ray = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Trained weights; default: those shipped with the robot.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write all episodes and the summary; '-' for standard output.")
    ] = None,
    prediction: Annotated[
        bool, typer.Option("--prediction", help="Score predictions after 50, 100 and 500 ms of data instead.")
    ] = False,
    tasks: Annotated[int, typer.Option(min=1, max=100_000, help="With --prediction: number of held-out tasks.")] = 200,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=_SET)] = None,
    episodes: Annotated[bool, typer.Option("--episodes", help="Also print the error of every run.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw every episode (.svg, .png or .pdf).")] = None,
    env: Annotated[
        str | None,
        typer.Option(metavar="ENVIRONMENT", help="Environment (metarl train-grbal --help).", rich_help_panel=_OF_GRBAL),
    ] = None,
    planner: Annotated[
        str | None,
        typer.Option(
            help="Sampling MPC: mppi or random_shooting; default: that of the training.", rich_help_panel=_OF_GRBAL
        ),
    ] = None,
) -> None:
    """Compare the tracking errors of controllers in simulated runs whose conditions change."""
    from metarl_robot.control.factory import check_weights, compared_controllers, load_config, remark_on_weights
    from metarl_robot.core.robot import load_robot

    if plot is not None:
        _check_plot(plot)
    if robot == GRBAL:
        _refuse_of_robots(suite, controllers, jobs, ray, prediction, settings, episodes)
        eval_grbal(env, checkpoint, range(first_seed, first_seed + seeds), planner, json, plot)
        return
    if env is not None or planner is not None:
        raise MetaRLError(f"--env and --planner belong to: metarl eval {GRBAL} --env ENVIRONMENT")
    loaded = load_robot(robot)
    names = compared_controllers(loaded, checkpoint) if controllers is None else parse_names(controllers)
    if prediction:
        _predict(loaded, checkpoint, tasks, json, plot)
        return
    for name in names:  # before the first of many episodes
        check_weights(loaded, load_config(loaded, name), checkpoint)
    if remark := remark_on_weights(loaded, names, checkpoint):
        note(remark)
    from metarl_robot.parallel.processes import Processes

    numbers = range(first_seed, first_seed + seeds)
    conditions = read_settings(settings or ())
    with engine(ray) as cluster, progress() as report:
        where = cluster or Processes(jobs or len(os.sched_getaffinity(0)))
        result, complete = _run(report, loaded, suite, names, numbers, where, checkpoint, conditions)
    if json is not None:
        write_json(result, json)
    if json != "-":
        _print(loaded, result, episodes)
    if plot is not None:
        _draw(result, plot)
    if not complete:
        raise typer.Exit(130)


def _refuse_of_robots(
    suite: str,
    controllers: str | None,
    jobs: int,
    ray: Any,
    prediction: bool,
    settings: list[str] | None,
    episodes: bool,
) -> None:
    """Raise MetaRLError for an option that only robots have."""
    given = {
        "--suite": suite != _SUITE,
        "--controllers": controllers is not None,
        "--jobs": jobs != 0,
        "--ray": ray is not None,
        "--prediction": prediction,
        "--set": bool(settings),
        "--episodes": episodes,
    }
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        allowed = "--env, --planner, --seeds, --first-seed, --checkpoint, --json, --plot"
        raise MetaRLError(f"eval {GRBAL}: {', '.join(wrong)} cannot be given; allowed: {allowed}")


def _check_plot(path: Path) -> None:
    from metarl_robot.cli.figure import IMAGES, check_suffix

    check_suffix(path, IMAGES)


def _predict(robot: Any, checkpoint: Path | None, tasks: int, json: str | None, plot: Path | None) -> None:
    from metarl_robot.cli.prediction import predict, prediction_table

    with progress() as report:
        scores = predict(robot, checkpoint, tasks, report)
    if json is not None:
        write_json({"robot": robot.name, **scores}, json)
    if json != "-":
        out().print(prediction_table(scores))
    if plot is not None:
        from metarl_robot.cli.figure import save, style
        from metarl_robot.cli.plot_training import prediction

        with style():
            note(f"plot: {save(prediction(scores), plot)}")


def _run(
    report: Report,
    robot: Any,
    suite: str,
    controllers: tuple[str, ...],
    seeds: range,
    where: Engine,
    checkpoint: Path | None,
    settings: dict[str, Any],
) -> tuple[dict[str, Any], bool]:
    """Run the evaluation; Ctrl-C keeps finished episodes. Returns (the evaluation's JSON, whether it is complete)."""
    from metarl_robot.sim.episode_scores import EpisodeResult
    from metarl_robot.sim.evaluate import Evaluation
    from metarl_robot.sim.evaluate import evaluate as run
    from metarl_robot.sim.kinds import simulation

    report("episodes", 0, len(seeds) * len(simulation(robot).scenario_names(suite)) * len(controllers))
    kept: list[EpisodeResult] = []

    def show(done: int, total: int, result: EpisodeResult) -> None:
        kept.append(result)
        report(
            "episodes",
            done,
            total,
            f"{result.controller}, {result.scenario} {result.seed}: {1e3 * result.rmse_after_m:.3g} mm",
        )

    try:
        done = run(
            robot, suite, controllers, seeds, progress=show, checkpoint=checkpoint, engine=where, settings=settings
        )
        return done.to_json(), True
    except KeyboardInterrupt:
        if not kept:
            raise
        note(f"{len(kept)} finished episodes are kept", "interrupted")
        return Evaluation(robot.name, suite, tuple(kept), settings).to_json(), False


def _print(robot: Any, result: dict[str, Any], episodes: bool) -> None:
    from metarl_robot.cli import eval_tables
    from metarl_robot.core.quantities import quantities

    console, scenarios = (
        out(),
        [eval_tables.scenario_table(result, "rmse_after_m", "Error after the change by scenario\n[mm]")],
    )
    if robot.attitude is not None:  # many of these runs have no change
        scenarios.append(eval_tables.scenario_table(result, "rmse_m", "Error over the whole run by scenario\n[mm]"))
    if episodes:
        scenarios.append(eval_tables.episode_table(result))
    summary = eval_tables.summary_table(result, robot.wording, quantities(robot))
    for view in (summary, eval_tables.ratio_table(result), *scenarios):
        if view is not None:
            console.print(view)


def _draw(result: dict[str, Any], path: Path) -> None:
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_evaluation import evaluation

    with style():
        note(f"plot: {save(evaluation(result), path)}")
