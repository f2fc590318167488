# SPDX-License-Identifier: Apache-2.0
"""Faults of the nodes: processes that end or stop, a solver that fails, extreme parameters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metarl_robot.control.base import Controller
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import Command, Reference, Setpoints, State
from metarl_robot.safety.gate import Gate
from metarl_robot.sim.faults_draw import Draw
from metarl_robot.sim.faults_loop import CLOCK_START_S, Fault, IntendedError

_EXTREME_SHARE = 0.5  # share of the periods in which parameters change


def mpc_killed(draw: Draw) -> Fault:
    """The controller's process ends."""
    return Fault("for good", alive=lambda node, time_s: node != "mpc" or time_s < draw.start_s)


def mpc_stopped(draw: Draw) -> Fault:
    """The controller's process stops for a while."""
    return _stopped(draw, "mpc")


def gate_killed(draw: Draw) -> Fault:
    """The gate's process ends."""
    return Fault("for good", alive=lambda node, time_s: node != "gate" or time_s < draw.start_s)


def gate_stopped(draw: Draw) -> Fault:
    """The gate's process stops for a while."""
    return _stopped(draw, "gate")


def solver_infeasible(draw: Draw) -> Fault:
    """A reference that no robot can follow: it jumps, or is beyond all limits."""
    size = draw.magnitude(0.3, 1e3)
    return Fault(f"off by {size:.3g}", reference=lambda reference: _Leaping(draw, reference, size))


def solver_overrun(draw: Draw) -> Fault:
    """Steps that take several periods."""
    took_s = draw.magnitude(1.5, 60.0) * draw.robot.control_period_s
    return Fault(
        f"{1e3 * took_s:.0f} ms a step",
        step_s=lambda time_s: took_s if draw.during(time_s) else 0.0,
    )


def solver_raises(draw: Draw) -> Fault:
    """A controller that raises an error."""
    return Fault("an error at each step", controller=lambda controller: _Raising(draw, controller))


def solver_bad_input(draw: Draw) -> Fault:
    """A controller that is called with NaN, huge and misshapen input between its steps."""
    return Fault("bad input between steps", controller=lambda controller: _Asked(draw, controller))


def parameters_extreme(draw: Draw) -> Fault:
    """The gate's parameters jump between their extremes during motion."""

    def tune(time_s: float, gate: Gate) -> None:
        if draw.during(time_s) and draw.chance(_EXTREME_SHARE):
            with suppress(MetaRLError):
                gate.configure(_extreme(draw, gate.config))

    return Fault("extreme values", tune=tune)


def _extreme(draw: Draw, config: Any) -> Any:
    """Set one of the configuration's numbers to an end of its range."""
    ranges = {name: ends_of(field) for name, field in type(config).model_fields.items()}
    name = draw.pick([name for name, ends in ranges.items() if len(ends) == 2])
    return type(config)(**{**config.model_dump(), name: draw.pick(ranges[name])})


def ends_of(field: Any) -> list[float]:
    """The ends of a parameter's range, if it has two."""
    ends = [getattr(limit, "ge", getattr(limit, "le", None)) for limit in field.metadata]
    return [float(end) for end in ends if end is not None]


def _stopped(draw: Draw, name: str) -> Fault:
    what = f"for {1e3 * (draw.end_s - draw.start_s):.0f} ms"
    return Fault(what, alive=lambda node, time_s: node != name or not draw.during(time_s))


@dataclass(frozen=True)
class _Leaping:
    """A reference with an offset in the window."""

    draw: Draw
    reference: Reference
    size: float

    def sample(self, times: Any) -> Setpoints:
        points = self.reference.sample(times)
        since, q = times - CLOCK_START_S, points.q.copy()
        inside = (since >= self.draw.start_s) & (since < self.draw.end_s)
        q[inside, :3] += self.size
        return replace(points, q=q)


class _Wrapped:
    """A controller around another."""

    def __init__(self, draw: Draw, controller: Controller) -> None:
        self.draw, self.controller = draw, controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self.controller, name)

    def reset(self) -> None:
        self.controller.reset()


class _Raising(_Wrapped):
    """Raises in the window."""

    def step(self, time: float, state: State, reference: Reference) -> Command:
        if self.draw.during(time - CLOCK_START_S):
            raise IntendedError("the fault")
        return self.controller.step(time, state, reference)


class _Asked(_Wrapped):
    """Calls its controller with invalid input before each step; it may refuse with a named error."""

    def step(self, time: float, state: State, reference: Reference) -> Command:
        if self.draw.during(time - CLOCK_START_S):
            with suppress(MetaRLError):
                self.controller.step(*self.draw.pick(_BAD)(time, state), reference)
        return self.controller.step(time, state, reference)


def _as_list(state: State) -> Any:
    """The state with its velocity as a list instead of an array."""
    velocity: Any = list(state.v)
    return replace(state, v=velocity)


_BAD: tuple[Callable[[float, State], tuple[Any, Any]], ...] = (
    lambda time, state: (np.nan, state),
    lambda time, state: (time, replace(state, q=np.full_like(state.q, np.nan))),
    lambda time, state: (time, replace(state, v=np.full_like(state.v, np.inf))),
    lambda time, state: (time, replace(state, q=np.full_like(state.q, 1e6))),
    lambda time, state: (time, replace(state, v=state.v + 999.0)),
    lambda time, state: (time, replace(state, q=state.q[:-1])),
    lambda time, state: (time, _as_list(state)),
    lambda time, state: (time - 1e3, state),
    lambda time, state: (time + 1e9, state),
)

NODES = (mpc_killed, mpc_stopped, gate_killed, gate_stopped)
SOLVER = (solver_infeasible, solver_overrun, solver_raises, solver_bad_input)
PARAMETERS = (parameters_extreme,)
