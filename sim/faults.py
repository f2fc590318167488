# SPDX-License-Identifier: Apache-2.0
"""Kinds of fault for a closed loop in one process, each drawn from a seed and active in a time window.

A kind is a function from a `Draw` (seeded random numbers, the robot and the window) to a `Fault` (sim/faults_loop.py).
Faults that need several processes (a killed process, quality of service, full disks) are in cli/fault_processes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import UnknownNameError
from metarl_robot.core.robot import Robot
from metarl_robot.sim import faults_clock, faults_messages, faults_nodes, faults_sensors
from metarl_robot.sim.faults_draw import Draw
from metarl_robot.sim.faults_loop import Fault

Array = NDArray[np.float64]

_START_S, _SHORTEST_S, _LONGEST_S = (0.8, 1.3), 0.01, 1.0


@dataclass(frozen=True)
class Kind:
    """One kind of fault. text: its description, without a full stop."""

    name: str
    group: str
    text: str
    make: Callable[[Draw], Fault]


def _kinds() -> Mapping[str, Kind]:
    groups = {
        "nodes": faults_nodes.NODES,
        "messages": faults_messages.MESSAGES,
        "clock": faults_clock.CLOCK,
        "solver": faults_nodes.SOLVER,
        "sensors": faults_sensors.SENSORS,
        "parameters": faults_nodes.PARAMETERS,
    }
    made = [Kind(make.__name__, group, _said(make), make) for group, makes in groups.items() for make in makes]
    return {kind.name: kind for kind in made}


def _said(make: Callable[[Draw], Fault]) -> str:
    return (make.__doc__ or "").strip().rstrip(".")


KINDS: Mapping[str, Kind] = _kinds()


def kind_of_fault(name: str) -> Kind:
    """Return a kind by its name. Raises UnknownNameError."""
    if name not in KINDS:
        raise UnknownNameError("kind of fault", name, KINDS)
    return KINDS[name]


def draw_fault(robot: Robot, name: str, seed: int) -> tuple[Draw, Fault]:
    """Draw the window and the fault of one run. Raises UnknownNameError."""
    kind = kind_of_fault(name)
    rng = np.random.default_rng([seed, *name.encode()])
    start_s = float(rng.uniform(*_START_S))
    length_s = float(np.exp(rng.uniform(np.log(_SHORTEST_S), np.log(_LONGEST_S))))
    draw = Draw(robot, rng, start_s, start_s + length_s)
    return draw, kind.make(draw)
