"""What happens in the demo: an arm that is as its model says, with a real one's delays and noise, picks up a payload.

Pose, motion and payload are those of scenario `pickup` of suite `heldout` for the seed; the payload may be named instead. Friction,
motors and cables are left as the model has them, so that all there is to find out is the payload.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from metarl_robot.errors import MetaRLError
from metarl_robot.robot import Robot
from metarl_robot.sim.feasibility import torque_use
from metarl_robot.sim.suites import CHANGE_S, DURATION_S, scenario
from metarl_robot.sim.task import Payload, Task, nominal_task

SUITE, KIND = "heldout", "pickup"
_BOX_SIDE_M = 0.08


@dataclass(frozen=True)
class DemoTask:
    """Conditions before and after the pick-up at `change_s`; seed of pose, motion and noise."""

    before: Task
    after: Task
    change_s: float
    seed: int

    @property
    def payload(self) -> Payload:
        """What is picked up."""
        return self.after.payload

    def write(self, folder: Path) -> Path:
        """Write the conditions, and a parameter file with which the plant reads them and the gate waits until it is told to begin.

        Returns:
            The parameter file.
        """
        conditions, parameters = folder / "conditions.json", folder / "nodes.params.yaml"
        content = {"initial": self.before.to_dict(), "changes": [{"time_s": self.change_s, "task": self.after.to_dict()}]}
        folder.mkdir(parents=True, exist_ok=True)
        conditions.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        nodes = {"plant": {"task.task_file": str(conditions.resolve())}, "gate": {"arm_at_start": False}}
        content = {node: {"ros__parameters": values} for node, values in nodes.items()}
        parameters.write_text(yaml.safe_dump(content), encoding="utf-8")
        return parameters


def demo_task(robot: Robot, seed: int, mass_kg: float | None = None, offset_m: tuple[float, ...] | None = None) -> DemoTask:
    """The demo's conditions.

    Arguments:
        robot: the arm.
        seed: of everything that is drawn.
        mass_kg, offset_m: payload and its centre of mass in the payload frame (3,); default: drawn.

    Raises:
        MetaRLError: a payload that the motors cannot carry along the motion.
    """
    drawn = scenario(robot, SUITE, KIND, seed)
    sensors = drawn.initial
    before = replace(
        nominal_task(robot),
        command_delay_s=sensors.command_delay_s,
        sensor_delay_s=sensors.sensor_delay_s,
        encoder_resolution_rad=sensors.encoder_resolution_rad,
        velocity_noise_rad_s=sensors.velocity_noise_rad_s,
    )
    payload = drawn.changes[0][1].payload
    if mass_kg is not None or offset_m is not None:
        payload = _box(payload.mass_kg if mass_kg is None else mass_kg, payload.com_m if offset_m is None else np.array(offset_m))
    after = replace(before, payload=payload)
    use = torque_use(robot, after, drawn.reference, CHANGE_S, DURATION_S)
    if use > 1.0:
        raise MetaRLError(
            f"a payload of {payload.mass_kg:.2f} kg needs {use:.0%} of a motor's effort limit along this motion; choose a lighter one"
        )
    return DemoTask(before, after, CHANGE_S, seed)


def _box(mass_kg: float, com_m: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Payload:
    """A cube, as heavy as told."""
    moment = mass_kg * _BOX_SIDE_M**2 / 6.0
    return Payload(mass_kg, com_m, np.array([moment, moment, moment, 0.0, 0.0, 0.0]))
