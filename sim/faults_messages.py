# SPDX-License-Identifier: Apache-2.0
"""Faults of messages: states in transit to the nodes, or commands in transit to the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.sim.faults_draw import Draw
from metarl_robot.sim.faults_loop import CLOCK_START_S, CommandMessage, Fault, StateMessage

Array = NDArray[np.float64]
Spread = Callable[[Any], list[Any]]

_FLOOD_HZ = 10_000.0
_STRANGER_HZ = 50.0


def nan(draw: Draw) -> Fault:
    """NaN values."""
    return _values(draw, "NaN", lambda: np.nan)


def inf(draw: Draw) -> Fault:
    """Infinite values."""
    return _values(draw, "infinite", lambda: draw.pick((np.inf, -np.inf)))


def huge(draw: Draw) -> Fault:
    """Huge values, 1e3 to 1e300."""
    return _values(draw, "huge", lambda: draw.pick((1.0, -1.0)) * draw.magnitude(1e3, 1e300))


def malformed(draw: Draw) -> Fault:
    """Vectors that are too short, too long or of another shape."""
    spoil = draw.pick((lambda x: x[:-1], lambda x: np.append(x, 0.0), lambda x: x[:0], lambda x: x[None]))

    def state(message: StateMessage) -> StateMessage:
        return replace(message, state=replace(message.state, q=spoil(message.state.q)))

    def command(message: CommandMessage) -> CommandMessage:
        return replace(message, effort=spoil(message.effort))

    return _either(draw, "of the wrong shape", lambda m: [state(m)], lambda m: [command(m)])


def missing(draw: Draw) -> Fault:
    """Lost messages."""
    share = draw.number(0.3, 1.0)
    return _one(draw, f"{share:.0%} lost", lambda m: [] if draw.chance(share) else [m])


def duplicated(draw: Draw) -> Fault:
    """Messages that arrive several times."""
    count = int(draw.rng.integers(2, 6))
    return _one(
        draw,
        f"{count} times each",
        lambda m: [replace(m, at_s=m.at_s + 1e-3 * k) for k in range(count)],
    )


def reordered(draw: Draw) -> Fault:
    """Messages that arrive out of order."""
    most_s = draw.number(1.0, 5.0) * draw.robot.control_period_s
    return _one(
        draw,
        f"up to {1e3 * most_s:.0f} ms later",
        lambda m: [_delayed(m, draw.number(0.0, most_s))],
    )


def late(draw: Draw) -> Fault:
    """Messages that arrive late, with correct stamps."""
    delay_s = draw.magnitude(0.005, 0.3)
    return _one(draw, f"{1e3 * delay_s:.0f} ms late", lambda m: [_delayed(m, delay_s)])


def early(draw: Draw) -> Fault:
    """Stamps in the future."""
    ahead_s = draw.magnitude(0.005, 1000.0)
    return _one(draw, f"stamped {ahead_s:.3g} s ahead", lambda m: [replace(m, stamp_s=m.stamp_s + ahead_s)])


def backwards(draw: Draw) -> Fault:
    """Stamps that decrease from message to message."""
    around_s = CLOCK_START_S + draw.start_s
    return _one(draw, "stamped backwards", lambda m: [replace(m, stamp_s=2.0 * around_s - m.stamp_s)])


def flood(draw: Draw) -> Fault:
    """Messages at 10 kHz, with random numbers up to three times the limits."""
    count = round(_FLOOD_HZ * draw.robot.control_period_s)
    after = [k / _FLOOD_HZ for k in range(count)]

    def states(message: StateMessage) -> list[StateMessage]:
        return [replace(message, at_s=message.at_s + dt, stamp_s=message.stamp_s + dt) for dt in after]

    def commands(message: CommandMessage) -> list[CommandMessage]:
        return [replace(message, at_s=message.at_s + dt, effort=_any_effort(draw)) for dt in after]

    return _either(draw, "at 10 kHz", states, commands)


def stranger(draw: Draw) -> Fault:
    """A second source that sends states with the same names: zeros or the home pose at 50 Hz."""
    home = draw.pick((True, False))
    q = draw.robot.home if home or draw.robot.attitude is not None else np.zeros(draw.robot.nq)
    other = State(q.copy(), np.zeros(draw.robot.dof))
    every = max(1, round(1.0 / (_STRANGER_HZ * draw.robot.control_period_s)))
    after_s = 0.3 * draw.robot.control_period_s

    def states(time_s: float, message: StateMessage) -> list[StateMessage]:
        turn = round(time_s / draw.robot.control_period_s) % every == 0
        if not (draw.during(time_s) and turn):
            return [message]
        foreign = replace(message.state, q=other.q, v=other.v)
        return [message, StateMessage(message.at_s + after_s, message.stamp_s + after_s, foreign)]

    return Fault(f"states: a second source, {'home' if home else 'zeros'}", states=states)


def _values(draw: Draw, what: str, value: Callable[[], float]) -> Fault:
    def spoil(numbers: Array) -> Array:
        spoilt = numbers.copy()
        spoilt[draw.rng.integers(len(spoilt))] = value()
        return spoilt

    def state(message: StateMessage) -> list[StateMessage]:
        name = draw.pick(("q", "v"))
        return [replace(message, state=replace(message.state, **{name: spoil(getattr(message.state, name))}))]

    def command(message: CommandMessage) -> list[CommandMessage]:
        return [replace(message, effort=spoil(message.effort))]

    return _either(draw, what, state, command)


def _either(draw: Draw, what: str, states: Spread, commands: Spread) -> Fault:
    """The fault on states or on commands: on all in the window, or on half of them."""
    share = draw.pick((1.0, 0.5))

    def spread(spoil: Spread) -> Callable[[float, Any], list[Any]]:
        return lambda time_s, m: spoil(m) if draw.during(time_s) and draw.chance(share) else [m]

    where = f"{share:.0%} of them" if share < 1.0 else "all"
    if draw.chance(0.5):
        return Fault(f"states: {what}, {where}", states=spread(states))
    return Fault(f"commands: {what}, {where}", commands=spread(commands))


def _one(draw: Draw, what: str, spread: Spread) -> Fault:
    return _either(draw, what, spread, spread)


def _delayed(message: Any, delay_s: float) -> Any:
    return replace(message, at_s=message.at_s + delay_s)


def _any_effort(draw: Draw) -> Array:
    return 3.0 * draw.rng.uniform(-1.0, 1.0, draw.robot.nu) * draw.robot.effort_limit


MESSAGES = (
    nan,
    inf,
    huge,
    malformed,
    missing,
    duplicated,
    reordered,
    late,
    early,
    backwards,
    flood,
    stranger,
)
