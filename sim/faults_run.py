# SPDX-License-Identifier: Apache-2.0
"""One run under a fault, from its seed to its row of results.

A row holds the commands that reached the plant, the robot's reaction and the gate's reasons. Half of the runs carry
nothing, the others a load (the scenario `drop` of the suite `heldout`, before the drop). In half of the runs the nodes
compare stamps with the machine's clock (`max_state_age_s`). A run ends `_AFTER_S` after the fault, or once the gate has
brought the robot to rest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from metarl_robot.control.base import Controller
from metarl_robot.control.factory import make_controller
from metarl_robot.core.parameter_file import read_parameters
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.safety.fallback_law import GateError, gate_config
from metarl_robot.safety.gate import Gate, GateState
from metarl_robot.sim.faults import draw_fault
from metarl_robot.sim.faults_loop import Fault, Loop
from metarl_robot.sim.faults_witness import Reached
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.scenario import Scenario

_AFTER_S = 1.5  # duration of a run after the fault
_REST_S = 8.0  # longest extra time until the robot is at rest
_WINDOW_S = 0.5  # errors are means over this time, before the fault and at the end
_NORMAL = 2.0  # an error is normal up to this multiple of the earlier one,
_PREFERRED = ("drop", "undisturbed")  # runs of a suite; a kind that has neither: its first
_NORMAL_M = (0.005, 0.05)  # or up to this size: of a robot without attitude, with one
_LANDING_M_S, _LANDING_RAD = 1.5, 0.8  # a harder touch-down is a crash
_STATE_AGE_S = 0.1  # the nodes' max_state_age_s


@dataclass(frozen=True)
class FaultRun:
    """One row. what: the fault in words. where: 'lockstep' or 'processes'.

    state: of the gate at the end ('landed' for a robot that flew and is down). recovered: commands pass and the error
    is normal. velocity_violations: physics steps beyond a velocity limit. ended: errors, and processes that ended
    without being killed. said: the gate's reasons. refused: counts of the gate's actions, by name.
    """

    robot: str
    kind: str
    seed: int
    where: str
    what: str
    reached: Reached
    state: str
    latched: bool
    recovered: bool
    crashed: bool
    velocity_violations: int
    error_before_m: float
    error_after_m: float
    ended: tuple[str, ...]
    said: tuple[str, ...]
    refused: dict[str, int]

    @property
    def unsafe(self) -> bool:
        """Whether an unsafe command reached the plant, or a process ended without being killed."""
        return self.reached.unsafe or bool(self.ended)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: a line of the results."""
        return {**asdict(self), "unsafe": self.unsafe}


def run_fault(robot: Robot, kind: str, seed: int, controller: Controller | None = None) -> FaultRun:
    """Run in lockstep, within this process.

    Arguments:
        robot: the robot.
        kind: name of a kind of fault (sim.faults.KINDS).
        seed: seed of the fault, the motion and the noise.
        controller: the controller; default: the kind's adaptive controller, built once a process.

    Raises:
        UnknownNameError: no such kind.
    """
    draw, fault = draw_fault(robot, kind, seed)
    used = controller or _controller(robot.folder)
    used.reset()
    gate = Gate(robot, _config(robot))
    loop = Loop(robot, _scenario(robot.folder, seed), used, gate, fault, _STATE_AGE_S * (seed // 2 % 2))
    while loop.time_s < draw.end_s + _AFTER_S or (_moving(loop) and loop.time_s < draw.end_s + _AFTER_S + _REST_S):
        loop.advance()
    return _row(kind, seed, draw.start_s, fault, loop)


def _moving(loop: Loop) -> bool:
    return loop.gate.gate.state not in (GateState.PASSING, GateState.HOLDING) and loop.gate.running


def _row(kind: str, seed: int, start_s: float, fault: Fault, loop: Loop) -> FaultRun:
    gate, period_s = loop.gate.gate, loop.robot.control_period_s
    before = loop.error_m[round((start_s - _WINDOW_S) / period_s) : round(start_s / period_s)]
    error_before_m, error_after_m = (
        _mean(before),
        _mean(loop.error_m[-round(_WINDOW_S / period_s) :]),
    )
    normal = error_after_m <= max(_NORMAL * error_before_m, _NORMAL_M[loop.robot.attitude is not None])
    return FaultRun(
        robot=loop.robot.name,
        kind=kind,
        seed=seed,
        where="lockstep",
        what=fault.what,
        reached=loop.witness.reached,
        state=_state(loop),
        latched=gate.latched,
        recovered=gate.state is GateState.PASSING and normal and loop.gate.running,
        crashed=_crashed(loop),
        velocity_violations=_too_fast(loop.plant.violations),
        error_before_m=error_before_m,
        error_after_m=error_after_m,
        ended=tuple(dict.fromkeys(loop.raised)),
        said=tuple(loop.gate.reasons),
        refused=dict(gate.counts + Counter({f"state_{name}": n for name, n in gate.states.rejections.items()})),
    )


def _state(loop: Loop) -> str:
    if not loop.gate.running:
        return "stopped by the last hop" if loop.last_hop.stopping else "gate gone"
    state = loop.gate.gate.state
    return "landed" if state is GateState.HOLDING and loop.robot.lands else state.value


def _crashed(loop: Loop) -> bool:
    if loop.landing is None:
        return False
    return loop.landing[0] > _LANDING_M_S or loop.landing[1] > _LANDING_RAD


def _too_fast(violations: Any) -> int:
    counts = asdict(violations)
    return sum(counts.get(name, 0) for name in ("velocity", "speed", "rate"))


def _mean(errors: list[float]) -> float:
    return float(np.mean(errors)) if errors else 0.0


def _config(robot: Robot) -> Any:
    """The gate's configuration as shipped with the robot."""
    path = robot.folder / "config" / "gate.yaml"
    shipped = read_parameters(path, GateError) if path.is_file() else {}
    return gate_config(robot)(**shipped.get("/**", {}))


@lru_cache(maxsize=128)
def _scenario(folder: Path, seed: int) -> Scenario[Any]:
    room, suite = simulation(load_robot(folder)), "heldout" if seed % 2 else "nominal"
    kinds = room.scenario_names(suite)
    return room.scenario(suite, next((kind for kind in _PREFERRED if kind in kinds), kinds[0]), seed)


@lru_cache(maxsize=2)
def _controller(folder: Path) -> Controller:
    robot = load_robot(folder)
    return make_controller(robot, robot.adaptive_controller)
