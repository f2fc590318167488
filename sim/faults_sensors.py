# SPDX-License-Identifier: Apache-2.0
"""Faults of measured values in otherwise valid messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metarl_robot.core.signals import State
from metarl_robot.sim.faults_draw import Draw
from metarl_robot.sim.faults_loop import Fault, StateMessage


def sensor_frozen(draw: Draw) -> Fault:
    """The same measurement repeatedly, with new stamps."""
    kept: list[State] = []

    def freeze(state: State) -> State:
        kept[:] = kept or [state]
        return kept[0]

    return _measured(draw, "the same state", freeze)


def sensor_spike(draw: Draw) -> Fault:
    """A joint or an axis that is far off from time to time."""
    size, share = draw.magnitude(0.05, 999.0), draw.number(0.05, 0.5)

    def spike(state: State) -> State:
        if not draw.chance(share):
            return state
        name = draw.pick(("q", "v"))
        values = getattr(state, name).copy()
        values[draw.rng.integers(draw.robot.position_size)] += draw.pick((1, -1)) * size
        return replace(state, **{name: values})

    return _measured(draw, f"{share:.0%} off by {size:.3g}", spike)


def sensor_drop(draw: Draw) -> Fault:
    """No measurement at all, or one joint or axis that reads zero."""
    if draw.chance(0.5):
        return Fault("no states", states=lambda time_s, m: [] if draw.during(time_s) else [m])
    index = int(draw.rng.integers(draw.robot.position_size))

    def zero(state: State) -> State:
        q, v = state.q.copy(), state.v.copy()
        q[index] = v[index] = 0.0
        return replace(state, q=q, v=v)

    return _measured(draw, f"coordinate {index} reads 0", zero)


def sensor_delay(draw: Draw) -> Fault:
    """States 20 to 200 ms late, stamped when measured or on arrival."""
    delay_s, on_arrival = draw.number(0.02, 0.2), draw.chance(0.5)

    def states(time_s: float, message: StateMessage) -> list[StateMessage]:
        if not draw.during(time_s):
            return [message]
        stamp_s = message.stamp_s + delay_s * on_arrival
        return [replace(message, at_s=message.at_s + delay_s, stamp_s=stamp_s)]

    how = "stamped on arrival" if on_arrival else "stamped when measured"
    return Fault(f"{1e3 * delay_s:.0f} ms late, {how}", states=states)


def _measured(draw: Draw, what: str, change: Callable[[State], State]) -> Fault:
    def states(time_s: float, message: StateMessage) -> list[StateMessage]:
        return [replace(message, state=change(message.state))] if draw.during(time_s) else [message]

    return Fault(what, states=states)


SENSORS = (sensor_frozen, sensor_spike, sensor_drop, sensor_delay)
