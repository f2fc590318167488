# SPDX-License-Identifier: Apache-2.0
"""A demo's conditions written for the nodes."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from metarl_robot.sim.demo import Demo


def write_conditions(demo: Demo, folder: Path) -> Path:
    """Write the conditions, and a parameter file for the nodes.

    With this file the plant reads the conditions, and the gate waits for a command to begin.

    Returns:
        The parameter file.
    """
    conditions, parameters = folder / "conditions.json", folder / "nodes.params.yaml"
    changes = [{"time_s": change.time_s, "task": change.task.to_dict()} for change in demo.changes]
    folder.mkdir(parents=True, exist_ok=True)
    conditions.write_text(
        json.dumps(
            {"initial": demo.before.to_dict(), "changes": changes, "obstacles": demo.obstacles.tolist()}, indent=2
        )
        + "\n",
        encoding="utf-8",
    )
    nodes = {
        "plant": {"task.task_file": str(conditions.resolve())},
        "gate": {"arm_at_start": False},
        "reference": {"pace": demo.pace},
    }
    content = {node: {"ros__parameters": values} for node, values in nodes.items()}
    parameters.write_text(yaml.safe_dump(content), encoding="utf-8")
    return parameters
