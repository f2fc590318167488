# SPDX-License-Identifier: Apache-2.0
"""`metarl eval-policy`: a policy's return before and after each step of adaptation, over held-out tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import examples, note, out, parse_names, write_json
from metarl_robot.cli.policy_tables import steps_table
from metarl_robot.cli.progress import progress
from metarl_robot.core.errors import MetaRLError

if TYPE_CHECKING:
    from metarl_robot.learning.policies.family import Family

_MOST_STEPS = 100
_LARGEST_RATE = 100.0
_EPILOG = examples(
    ("metarl eval-policy point-navigation", "the shipped weights, before and after 1 to 3 gradient steps"),
    ("metarl eval-policy point-navigation --algo pg", "the shipped baseline: pre-training, then fine-tuning"),
    ("metarl eval-policy point-navigation runs/policies/point-navigation/maml_pg.safetensors", "your own weights"),
    ("metarl eval-policy point-navigation --steps 0,1,5 --json", "for programs: only JSON on standard output"),
    note="The same seed gives the same tasks for every checkpoint. Training never draws the tasks of an evaluation.",
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("eval-policy", epilog=_EPILOG)(eval_policy)


def eval_policy(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="A family of tasks (metarl train-policy --help).")],
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="[CHECKPOINT]", help="A .safetensors file; default: the shipped weights.")
    ] = None,
    algo: Annotated[
        str | None,
        typer.Option(help="Shipped weights to use: maml_pg, pg or rl2.", show_default="maml_pg, or the only ones"),
    ] = None,
    steps: Annotated[
        str, typer.Option(help="Numbers of gradient steps, separated by commas; rl2: of episodes before.")
    ] = "0,1,2,3",
    rate: Annotated[
        float | None,
        typer.Option(help="Step size of the first gradient step (later ones: half); default: the checkpoint's."),
    ] = None,
    tasks: Annotated[
        int | None, typer.Option(min=2, max=10_000, help="Number of held-out tasks.", show_default="the family's")
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            min=2, max=10_000, help="Episodes per task and gradient step; rl2: trials.", show_default="the family's"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of tasks and episodes.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the result (.svg, .png or .pdf).")] = None,
) -> None:
    """Measure a policy's return before and after each step of adaptation to held-out tasks."""
    from metarl_robot.control.policy_layout import RECURRENT
    from metarl_robot.learning.policies.checkpoint import load_policy, shipped
    from metarl_robot.learning.policies.family import load_family

    numbers = _numbers(steps)
    if rate is not None and not 0.0 < rate <= _LARGEST_RATE:
        raise MetaRLError(f"--rate: {rate} is not a step size; allowed: above 0, up to {_LARGEST_RATE:g}")
    if plot is not None:
        _check_plot(plot)
    loaded = load_family(family)
    policy = load_policy(shipped(loaded, algo) if checkpoint is None else checkpoint, loaded.name)
    if rate is not None and policy.record.algo in RECURRENT:
        raise MetaRLError(f"--rate: a policy of {policy.record.algo} adapts by its state, not by gradient steps")
    tasks, episodes = tasks or loaded.scored[0], episodes or loaded.scored[1]

    from metarl_robot.learning.policies.evaluate import evaluate_checkpoint

    with progress() as report:
        found = evaluate_checkpoint(
            loaded, policy, numbers, tasks, episodes, seed, rate, lambda done, total: report("steps", done, total)
        )
    result = {"family": loaded.name, "algo": policy.record.algo, **_facts(loaded), "steps": found}
    if json:
        write_json(result)
    else:
        out().print(steps_table(f"{loaded.name}, {policy.record.algo}: {tasks} held-out tasks", result))
        for name, value in loaded.facts.items():
            note(f"{name}: {value}")
    if plot is not None:
        _draw(result, plot)


def _facts(family: Family) -> dict[str, dict[str, str]]:
    """The entry of a result that says which version of a benchmark it holds for; none for other families."""
    return {"facts": dict(family.facts)} if family.facts else {}


def _numbers(text: str) -> list[int]:
    """The numbers of steps, in ascending order. Raises MetaRLError."""
    names = parse_names(text)
    wrong = [name for name in names if not (name.isascii() and name.isdigit() and int(name) <= _MOST_STEPS)]
    if wrong:
        raise MetaRLError(f"--steps: '{wrong[0]}' is not a number of gradient steps; allowed: 0 … {_MOST_STEPS}")
    return sorted({int(name) for name in names})


def _check_plot(path: Path) -> None:
    from metarl_robot.cli.figure import IMAGES, check_suffix

    check_suffix(path, IMAGES)


def _draw(result: dict[str, Any], plot: Path) -> None:
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_policy import adaptation

    with style():
        note(f"plot: {save(adaptation(result), plot)}")
