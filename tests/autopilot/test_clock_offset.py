# SPDX-License-Identifier: Apache-2.0
"""The offset of an autopilot's clock: random delays, asymmetry, and a restart."""

from __future__ import annotations

import numpy as np

from metarl_robot.robots.quadrotor.autopilot.clock_offset import FEWEST, RESTARTED, ClockOffset

TRUE_NS = 1_700_000_000_000_000_000


def exchange(clock: ClockOffset, at_ns: int, there_ns: int, back_ns: int, true_ns: int = TRUE_NS) -> None:
    clock.exchange(true_ns + at_ns, at_ns + there_ns, true_ns + at_ns + there_ns + back_ns)


def test_the_offset_is_known_within_half_of_the_shortest_round_trip() -> None:
    clock, rng = ClockOffset(), np.random.default_rng(0)
    for k in range(100):
        there, back = (int(1e6 * (0.2 + rng.exponential(3.0))) for _ in range(2))
        exchange(clock, k * 100_000_000, there, back)
        assert clock.known == (k + 1 >= FEWEST)
        assert abs(clock.ours_ns(0) - TRUE_NS) <= clock.round_trip_ns / 2
    assert abs(clock.ours_ns(0) - TRUE_NS) < 1_000_000


def test_an_exchange_that_was_delayed_in_one_direction_is_not_used() -> None:
    clock = ClockOffset()
    for k in range(10):
        exchange(clock, k * 100_000_000, 300_000, 300_000)
    exchange(clock, 2_000_000_000, 300_000, 400_000_000)
    exchange(clock, 2_100_000_000, 300_000, 2_000_000_000)
    assert clock.ours_ns(5) == TRUE_NS + 5


def test_a_restarted_autopilot_is_noticed() -> None:
    clock = ClockOffset()
    for k in range(10):
        exchange(clock, 10**12 + k * 100_000_000, 300_000, 300_000)
    later = TRUE_NS + 10**12 + 5 * 10**9  # its clock begins at zero again
    for k in range(RESTARTED + FEWEST - 1):
        exchange(clock, k * 100_000_000, 300_000, 300_000, later)
    assert clock.known and clock.ours_ns(0) == later
