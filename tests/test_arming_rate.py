# SPDX-License-Identifier: Apache-2.0
"""States slower than the gate's timeout keep a robot from being armed, instead of stopping it in motion."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.safety.arming_rate import ArmingRate
from metarl_robot.safety.fallback_law import gate_config
from metarl_robot.safety.gate import Gate, GateError, GateState

X500 = load_robot("x500")
REST = State(X500.home, np.zeros(6))


def run(gate: Gate, begin_s: float, hz: float, duration_s: float) -> set[GateState]:
    """States of the gate while states come at a rate, and commands with them from the third on."""
    seen, period_s = set(), 0.005
    for k in range(round(duration_s / period_s)):
        t = begin_s + k * period_s
        if k % round(1.0 / hz / period_s) == 0:
            gate.on_state(REST, t, t)
            if k * period_s >= 2.0 / hz:
                gate.on_command(X500.hover_thrust, t, t)
        seen.add(gate.tick(t, t).state)
    return seen


@pytest.mark.parametrize(("hz", "timeout_s", "passes"), [(20, 0.04, False), (25, 0.04, True), (20, 0.06, True)])
def test_a_robot_with_slow_states_stays_where_it_is_and_the_reason_is_named(
    hz: int, timeout_s: float, passes: bool
) -> None:
    gate = Gate(X500, gate_config(X500)(state_timeout_s=timeout_s, command_timeout_s=0.1))
    seen = run(gate, 0.0, hz, 2.0)
    assert seen == ({GateState.WAITING, GateState.PASSING} if passes else {GateState.WAITING})
    named = ("states come at 20.0 Hz", "at least 25 Hz", "state_timeout_s")
    assert passes or all(words in gate.reason for words in named)


def test_it_is_armed_as_soon_as_the_states_are_fast_enough() -> None:
    gate = Gate(X500, gate_config(X500)())
    assert run(gate, 0.0, 20, 1.0) == {GateState.WAITING}
    assert GateState.PASSING in run(gate, 1.0, 100, 0.2)


def test_rearming_is_refused_by_the_rate() -> None:
    gate = Gate(X500, gate_config(X500)(arm_at_start=False))
    run(gate, 0.0, 20, 1.001)
    with pytest.raises(GateError, match="raise the driver's rate"):
        gate.rearm(0.97, 0.97)


def test_one_lost_state_and_a_new_time_base_are_no_rate() -> None:
    rate = ArmingRate()
    for stamp_s in (10.0, 10.01, 10.3, 10.31, 1.0):
        rate.accepted(stamp_s)
        assert not rate.problem(0.04) or stamp_s == 10.3
