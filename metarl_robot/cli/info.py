# SPDX-License-Identifier: Apache-2.0
"""`metarl info`: a checkpoint's content, training settings and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from metarl_robot.cli.console import examples, out, table, write_json
from metarl_robot.cli.policy_tables import steps_table
from metarl_robot.cli.prediction import prediction_table
from metarl_robot.core.errors import shown

_EPILOG = examples(
    ("metarl info panda", "the weights shipped with a robot"),
    ("metarl info models/policies/point-navigation/maml_pg.safetensors", "a policy"),
    ("metarl info runs/train/panda/dynamics.safetensors --json", "everything known about a file, for programs"),
    note=(
        "A file is refused if its SHA-256 differs from the one in the .json beside it, or if its format can execute "
        "code."
    ),
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("info", epilog=_EPILOG)(info)


def info(
    checkpoint: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT", help="A .safetensors file, or a robot's name for its shipped weights."),
    ],
    adapter: Annotated[
        str, typer.Option(help="Adapter of the robot's checkpoint: last_layer, maml or another.")
    ] = "last_layer",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a checkpoint's training settings, its scores and its hash."""
    path = checkpoint_path(checkpoint, adapter)
    tensors, meta = _load(path)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if json:
        write_json({"file": path, **meta, "tensors": shapes})
        return
    size = sum(tensor.size for tensor in tensors.values())
    facts = {"file": path, **meta, "parameters": f"{size} numbers in {len(shapes)} tensors"}
    scores = _score_table(path, meta.get("algo"), facts.pop("scores", {}))
    facts.pop("loss_curve", None)
    view = table("Checkpoint", ("", ""))
    view.show_header, view.columns[1].justify = False, "left"
    for name, value in flatten(facts):
        view.add_row(escape(name), escape(str(value)))
    out().print(view)
    if scores is not None:
        out().print(scores)


def _load(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Tensors and record of a robot's weights, a policy or models of the GrBAL suite. Raises CheckpointError.

    A policy's record names its family, one of the suite its environment.
    """
    from metarl_robot.core.checkpoint import load_checkpoint
    from metarl_robot.core.weight_files import check_suffix, read_record

    check_suffix(path)
    record = read_record(path.with_suffix(".json"), "metarl train ROBOT")
    if "environment" in record:
        from metarl_robot.learning.grbal.checkpoint import load_grbal

        models = load_grbal(path)
        return models.tensors, models.meta
    if "family" in record:
        from metarl_robot.learning.policies.checkpoint import load_policy

        policy = load_policy(path)
        return policy.tensors, policy.meta
    loaded = load_checkpoint(path)
    return loaded.tensors, loaded.meta


def _score_table(path: Path, algo: Any, scores: Any) -> Table | None:
    """Table of prediction scores, or of a policy's returns; None if there are none. Raises CheckpointError."""
    from metarl_robot.core.errors import CheckpointError

    try:
        if "steps" in scores:
            return steps_table("Held-out tasks", {**scores, "algo": algo})
        return prediction_table(scores["prediction"]) if "prediction" in scores else None
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise CheckpointError(
            f"{path}: 'scores' in the .json beside it are not as metarl train writes them: {shown(error)}"
        ) from error


def checkpoint_path(name: str, adapter: str) -> Path:
    """The file of that name, or the checkpoint shipped with the robot of that name. Raises UnknownNameError."""
    from metarl_robot.adaptation.adapter_spec import trained_adapters
    from metarl_robot.core.checkpoint import default_checkpoint
    from metarl_robot.core.errors import UnknownNameError
    from metarl_robot.core.robot import load_robot

    path = Path(name)
    if path.is_file() or path.suffix:
        return path
    robot = load_robot(name)
    if adapter not in trained_adapters(robot.kind):
        raise UnknownNameError("adapter", adapter, trained_adapters(robot.kind), f"kind {robot.kind}")
    return default_checkpoint(robot, adapter)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested entries to dotted names; a list becomes one text."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else value
