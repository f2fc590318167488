# SPDX-License-Identifier: Apache-2.0
"""Ablation of the learned dynamics: raw feature groups, learned features, and the training of features and prior.

    python benchmarks/ablation.py panda --json benchmarks/ablation_panda.json

Every variant is trained on the same tasks and scored like shipped weights: by the online filter, on held-out tasks.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from metarl_robot.adaptation.factory import make_adapter
from metarl_robot.control.factory import adapter_tuning
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.robot import load_robot
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.last_layer import LastLayerLearner
from metarl_robot.learning.models.train import fit
from metarl_robot.sim.dataset import DataSet
from metarl_robot.sim.kinds import TrainingDataBuilder, simulation
from metarl_robot.sim.scoring import PredictionTest
from metarl_robot.sim.training import simulate

VARIANTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "no learned features": {"learned": 0},
    "learned features alone": {"groups": ()},
    "trained prior": {"prior": "trained"},
    "prior: zero mean, one scale for each kind of coefficient": {"prior": "isotropic"},
    "prior mean contains the mean payload": {"unloaded_start": False},
    "features by plain regression": {"features": "supervised"},
    "features by plain regression, isotropic prior": {"features": "supervised", "prior": "isotropic"},
    "no context likelihood in the loss": {"context_weight": 0.0},
}


def main() -> None:
    """Train and score every variant."""
    arguments = _arguments()
    robot = load_robot(arguments.robot)
    base = {"tasks": arguments.tasks, "steps": arguments.steps, "threads": arguments.threads}
    data, builder = simulate(robot, TrainConfig(**base)), simulation(robot).training_data_builder()
    test = PredictionTest(robot, arguments.score_tasks)
    result: dict[str, list[dict[str, Any]]] = {}
    for name, change in variants(builder.groups).items():
        checkpoint = train_variant(builder, data, TrainConfig(**{**base, **change}))
        adapter = make_adapter("last_layer", robot, test.dynamics, adapter_tuning(robot, "meta_mpc"), checkpoint)
        result[name] = [score.to_dict(test.scale) for score in test.score(adapter)]
        print(row(name, result[name]), file=sys.stderr, flush=True)
    print(table(result))
    if arguments.json is not None:
        record = {"robot": robot.name, **base, "score_tasks": arguments.score_tasks, "rows": result}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robot")
    parser.add_argument("--tasks", type=int, default=TrainConfig().tasks)
    parser.add_argument("--steps", type=int, default=TrainConfig().steps)
    parser.add_argument("--score-tasks", type=int, default=200)
    parser.add_argument("--threads", type=int, default=TrainConfig().threads)
    parser.add_argument("--json", type=Path, help="also write the scores here")
    return parser.parse_args()


def variants(groups: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """All of `VARIANTS`, and one variant without each of the kind's groups of raw features."""
    without = {
        f"no {group} features": {"groups": tuple(other for other in groups if other != group)} for group in groups
    }
    return {**VARIANTS, **without}


def train_variant(builder: TrainingDataBuilder, data: DataSet, config: TrainConfig) -> Checkpoint:
    """Train one variant; returns its weights in memory."""
    groups = builder.groups if "all" in config.groups else config.groups
    learner = LastLayerLearner(
        builder.training_data(data, groups), builder.velocity_scale, builder.force_scale / builder.unit, config
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(learner, config, Path(folder) / "variant.state", "")
    tensors, names = learner.export()
    features = [*groups, *(["learned"] if config.learned else [])]
    return Checkpoint(tensors, {"adapter": "last_layer", "features": features, "context_names": list(names)})


def row(name: str, scores: list[dict[str, Any]]) -> str:
    """Format one line of the table.

    Each cell is the root mean square over tasks, with the median task in brackets [% of the effort limit].
    """
    cells = [f"{s['rmse_percent_of_limit']:.2f} ({s['median_percent_of_limit']:.2f})" for s in scores]
    return f"| {name} | {' | '.join(cells)} |"


def table(result: dict[str, list[dict[str, Any]]]) -> str:
    """Format the results as a Markdown table."""
    windows = [f"{score['window_ms']} ms" for score in next(iter(result.values()))]
    head = [f"| variant | {' | '.join(windows)} |", f"|---|{'---:|' * len(windows)}"]
    return "\n".join([*head, *(row(name, scores) for name, scores in result.items())])


if __name__ == "__main__":
    main()
