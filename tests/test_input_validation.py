# SPDX-License-Identifier: Apache-2.0
"""Stamps and states that come in."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.safety.input_validation import (
    FROZEN_S,
    MAX_STEP_S,
    RELOCATED_COUNT,
    RESYNC_COUNT,
    ClockCheck,
    InertialIntake,
    StampFilter,
    StateValidation,
    clock_problem,
)
from metarl_robot.safety.refusals import Refusals, Rejection

ROBOT, PANDA, X500 = (load_robot(name, check_model=False) for name in ("planar2", "panda", "x500"))
GOOD = State(np.array([0.1, 0.2]), np.zeros(2))


def test_advancing_stamps_pass_and_repeated_ones_do_not() -> None:
    stamps = StampFilter()
    assert [stamps.check(t) for t in (1.0, 1.1, 1.1, 1.2)] == [None, None, Rejection.DUPLICATE, None]


@pytest.mark.parametrize(
    ("stamp", "why"), [(0.5, Rejection.STAMP_BACKWARDS), (1.0 + 2 * MAX_STEP_S, Rejection.STAMP_JUMPED)]
)
def test_one_wrong_stamp_is_refused_and_three_that_agree_are_a_new_clock(stamp: float, why: Rejection) -> None:
    stamps = StampFilter()
    stamps.check(1.0)
    twice = Rejection.DUPLICATE
    assert [stamps.check(stamp + 0.01 * k) for k in (0, 0, 1, 1, 2)] == [why, twice, why, twice, None]
    assert stamps.epoch == 1 and stamps.last_s == pytest.approx(stamp + 0.02)


def test_wrong_stamps_that_do_not_agree_never_become_a_clock() -> None:
    stamps = StampFilter()
    stamps.check(100.0)
    rng = np.random.default_rng(0)
    assert all(stamps.check(t) is not None for t in rng.uniform(0, 50, 200).round()[::-1] if t)
    assert stamps.epoch == 0


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (State(np.zeros(3), np.zeros(2)), Rejection.SIZE),
        (State(np.zeros(2), np.zeros(1)), Rejection.SIZE),
        (State(np.array([np.nan, 0.0]), np.zeros(2)), Rejection.NOT_FINITE),
        (State(np.zeros(2), np.array([0.0, -np.inf])), Rejection.NOT_FINITE),
        (State(np.array([1e6, 0.0]), np.zeros(2)), Rejection.IMPLAUSIBLE),
    ],
)
def test_unusable_states_are_counted_and_the_last_good_one_kept_while_time_goes_on(
    state: State, why: Rejection
) -> None:
    intake = StateValidation(ROBOT)
    assert intake.offer(GOOD, 1.0, 0.0) is None
    assert intake.offer(state, 1.1, 0.0) is why
    assert intake.rejections[why.value] == 1
    assert intake.latest is not None and intake.latest.state is GOOD and intake.time_s == 1.1


def test_a_new_time_base_forgets_the_old_state() -> None:
    intake = StateValidation(ROBOT)
    intake.offer(GOOD, 50.0, 0.0)
    broken = State(np.full(2, np.nan), np.zeros(2))
    for t in (1.0, 1.01, 1.02):
        intake.offer(broken, t, 0.0)
    assert intake.epoch == 1 and intake.latest is None


# Several publishers, leaps and clocks. A source is a list of (arrival [s], stamp [s], state).

PERIOD_S = 0.005
ZEROS = State(np.zeros(7), np.zeros(7))
Source = list[tuple[float, float, State]]


def source(state: State, period_s: float, count: int, start_s: float = 10.0, ahead_s: float = 0.0) -> Source:
    return [(start_s + k * period_s, start_s + k * period_s + ahead_s, state) for k in range(count)]


def offered(intake: StateValidation, *sources: Source) -> list[tuple[State, Rejection | None]]:
    """The messages of all sources in the order of their arrival."""
    messages = sorted((message for one in sources for message in one), key=lambda message: message[0])
    return [(state, intake.offer(state, stamp, arrival)) for arrival, stamp, state in messages]


def share(results: list[tuple[State, Rejection | None]], of: State) -> float:
    """The accepted share of one source's messages."""
    return float(np.mean([problem is None for state, problem in results if state is of]))


AT_HOME = State(PANDA.home, np.zeros(7))


@pytest.mark.parametrize("rate_hz", [20.0, 50.0, 150.0, 1000.0, 3000.0])
@pytest.mark.parametrize("ahead_s", [-0.02, 0.0, 0.02])
def test_a_second_source_that_alternates_is_never_believed_and_never_hides_the_first(
    rate_hz: float, ahead_s: float
) -> None:
    intake = StateValidation(PANDA)
    offered(intake, source(AT_HOME, PERIOD_S, 20))
    start_s = 10.0 + 20 * PERIOD_S
    other = source(ZEROS, 1.0 / rate_hz, round(rate_hz), start_s + 0.0007, ahead_s)
    results = offered(intake, source(AT_HOME, PERIOD_S, 200, start_s), other)
    assert share(results, ZEROS) == 0.0 and share(results, AT_HOME) == 1.0 and intake.epoch == 0
    assert "second publisher" in intake.refusals.words(Rejection.POSITION_JUMPED)


def test_a_source_of_messages_that_cannot_be_used_hides_no_good_state() -> None:
    intake, broken = StateValidation(PANDA), State(np.full(7, np.nan), np.zeros(7))
    results = offered(intake, source(AT_HOME, PERIOD_S, 200), source(broken, 0.001, 1000, ahead_s=0.02))
    assert share(results, AT_HOME) == 1.0 and intake.epoch == 0


def test_two_sources_from_the_start_are_both_refused_until_one_is_alone() -> None:
    intake = StateValidation(PANDA)
    results = offered(intake, source(ZEROS, 0.02, 50), source(AT_HOME, PERIOD_S, 200, 10.0007))
    assert [problem for _, problem in results[:1]] == [None]
    assert share(results[1:], ZEROS) == share(results[1:], AT_HOME) == 0.0 and intake.latest is None
    results = offered(intake, source(AT_HOME, PERIOD_S, 20, 11.1))
    assert results[-1][1] is None and intake.epoch == 1 and "second publisher" not in intake.refusals.reason


def test_an_arm_that_is_elsewhere_for_good_is_believed_and_a_new_epoch_begins() -> None:
    intake = StateValidation(PANDA)
    offered(intake, source(AT_HOME, PERIOD_S, 20))
    results = offered(intake, source(ZEROS, PERIOD_S, 20, 10.0 + 20 * PERIOD_S))
    assert [problem is None for _, problem in results] == [k >= RELOCATED_COUNT - 1 for k in range(20)]
    assert intake.epoch == 1


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    rate_hz=st.sampled_from([40.0, 100.0, 200.0, 500.0, 1000.0]),
    speed=st.floats(0.0, 2.0),
    lost=st.floats(0.0, 0.5),
)
def test_no_motion_within_twice_the_velocity_limits_is_a_leap(
    seed: int, rate_hz: float, speed: float, lost: float
) -> None:
    """Velocity steps at random, as when hit; states are late, lost and stamped with jitter; velocities are measured or
    not.
    """
    rng, intake = np.random.default_rng(seed), StateValidation(PANDA)
    q, stamp, known = PANDA.home.copy(), 10.0, rng.random() < 0.5
    for _ in range(60):
        v = speed * PANDA.velocity_limit * rng.choice([-1.0, 1.0, *rng.uniform(-1, 1, 2)], 7)
        period = min(rng.geometric(1.0 - lost), 8) / rate_hz
        q, stamp = q + v * period, stamp + period
        jitter = rng.uniform(-0.3, 0.3) / rate_hz
        assert (
            intake.offer(State(q + rng.normal(0.0, 1e-3, 7), v if known else np.zeros(7)), stamp + jitter, 0.0) is None
        )


@given(rate_hz=st.sampled_from([40.0, 200.0, 1000.0]), speed=st.floats(2.0, 10.0), sign=st.sampled_from([-1.0, 1.0]))
def test_an_arm_that_runs_away_is_no_leap_as_its_velocity_says_so(rate_hz: float, speed: float, sign: float) -> None:
    """The gate must see the overspeed, and brake, instead of being blind."""
    intake, q, v = StateValidation(PANDA), PANDA.home.copy(), np.zeros(7)
    for k in range(40):
        faster = sign * min(speed, 0.3 * k) * PANDA.velocity_limit
        q, v = q + 0.5 * (v + faster) / rate_hz, faster
        assert intake.offer(State(q, v), 10.0 + k / rate_hz, 0.0) is None


@given(
    index=st.integers(0, 6), size=st.floats(5.0, 350.0), sign=st.sampled_from([-1.0, 1.0]), share=st.floats(0.05, 0.3)
)
def test_spikes_of_a_velocity_are_refused_and_the_states_between_them_are_not(
    index: int, size: float, sign: float, share: float
) -> None:
    intake, rng = StateValidation(PANDA), np.random.default_rng(index)
    for k in range(100):
        spiked = k > 20 and rng.random() < share
        v = sign * size * PANDA.velocity_limit * (np.arange(7) == index) * spiked + rng.normal(0.0, 1e-3, 7)
        problem = intake.offer(State(PANDA.home, v), 10.0 + 0.005 * k, 0.0)
        assert problem is (Rejection.POSITION_JUMPED if spiked else None)


@pytest.mark.parametrize("name", ["panda", "x500"])
@pytest.mark.parametrize("back_s", [10.0, 0.1])
def test_time_that_goes_back_heals_within_twelve_states(name: str, back_s: float) -> None:
    """A simulation that was reset, a recording played in a loop: the robot stands elsewhere, too."""
    robot = load_robot(name, check_model=False)
    intake, here = StateValidation(robot), State(robot.home, np.zeros(robot.dof))
    there = State(robot.home + np.eye(robot.nq)[0], np.zeros(robot.dof))
    offered(intake, source(here, PERIOD_S, 200))
    results = offered(intake, source(there, PERIOD_S, 30, 11.0 - back_s))
    assert all(problem is None for _, problem in results[12:]) and intake.epoch >= 1


def test_a_stamp_that_is_used_again_for_other_values_is_named_and_a_message_that_comes_twice_is_not() -> None:
    intake = StateValidation(ROBOT)
    moving = [State(np.array([0.1 + 0.001 * k, 0.2]), np.zeros(2)) for k in range(80)]
    problems = [intake.offer(state, 1.0 + 0.02 * (k // 4), 0.0) for k, state in enumerate(moving)]
    assert problems == [None, *3 * [Rejection.STAMP_REPEATED]] * 20
    assert "stamps repeat" in intake.refusals.warning and "stamp_on_arrival" in intake.refusals.reason
    assert intake.offer(moving[-4], 1.0 + 0.02 * 19, 0.0) is Rejection.DUPLICATE


def test_stamps_of_zero_are_named() -> None:
    intake = StateValidation(ROBOT)
    problems = [intake.offer(State(np.array([0.001 * k, 0.2]), np.zeros(2)), 0.0, 0.0) for k in range(5)]
    assert problems == [None, *4 * [Rejection.STAMP_ZERO]]
    assert "does the driver set header.stamp?" in intake.refusals.reason


@pytest.mark.parametrize(
    ("stamp_s", "why", "words"),
    [
        (0.0, Rejection.STAMP_ZERO, ""),
        (1234.0, Rejection.STALE, "stamps are 1.8e\\+09 s behind this machine's clock: since boot"),
        (1.8e9 - 0.5, Rejection.STALE, "stamps are 0.5 s behind this machine's clock \\(allowed: 0.1 s\\)"),
        (1.8e9 + 3.0, Rejection.FUTURE, "stamps are 3 s ahead of this machine's clock"),
        (-5.0, Rejection.STALE, "since boot"),
    ],
)
def test_a_stamp_that_is_off_the_clock_is_named_with_the_remedy(stamp_s: float, why: Rejection, words: str) -> None:
    problem = clock_problem(stamp_s, 1.8e9, 0.1)
    assert problem is not None and problem.why is why and re.search(words, problem.text)
    assert clock_problem(1.8e9 - 0.09, 1.8e9, 0.1) is None


PERIOD_S, MAX_AGE_S = 0.005, 0.1


def checked(clock: ClockCheck, stamps_s: list[float], since_s: float = 1.0, machine_s: float = 5000.0) -> list[bool]:
    """Which stamps are near a machine's clock, one arriving each period."""
    arrivals = [since_s + PERIOD_S * k for k in range(len(stamps_s))]
    return [
        clock.check(stamp, machine_s + at, at, MAX_AGE_S) is None for stamp, at in zip(stamps_s, arrivals, strict=True)
    ]


def warm() -> ClockCheck:
    clock = ClockCheck()
    assert all(checked(clock, [5000.0 + PERIOD_S * k for k in range(200)], since_s=0.0))
    return clock


@pytest.mark.parametrize("by_s", [-5001.0, -500.0, -0.2, 0.2, 500.0])
def test_a_clock_that_was_set_is_a_new_time_base_after_a_few_states(by_s: float) -> None:
    clock = warm()
    near = checked(clock, [5001.0 + by_s + PERIOD_S * k for k in range(50)])
    assert near == [k >= RESYNC_COUNT - 1 for k in range(50)]
    assert clock.changes == 1 and "a clock was set" in clock.reason
    near = checked(clock, [5001.25 + PERIOD_S * k for k in range(50)], since_s=1.25)  # set back
    assert near == [k >= RESYNC_COUNT - 1 for k in range(50)] and clock.changes == 2


def test_a_clock_that_stood_and_goes_on_from_there_is_a_new_time_base() -> None:
    clock = warm()
    near = checked(clock, [5001.0] * 100 + [5001.0 + PERIOD_S * k for k in range(1, 50)])
    assert not near[99] and near[100 + RESYNC_COUNT :] == [True] * (49 - RESYNC_COUNT) and clock.changes == 1


def test_when_this_machines_clock_is_set_the_states_are_believed_again() -> None:
    clock = warm()
    assert checked(clock, [5001.0 + PERIOD_S * k for k in range(50)], machine_s=4000.0)[RESYNC_COUNT:] == [True] * (
        50 - RESYNC_COUNT
    )


@pytest.mark.parametrize("delay_s", [0.12, 0.5, 3.0])
@pytest.mark.parametrize("lost", [False, True])
def test_states_that_come_late_are_never_a_new_time_base(delay_s: float, lost: bool) -> None:
    clock = warm()
    begin_s = 1.0 if lost else 1.0 + delay_s  # some were lost, or all come after a silence
    stamps_s = [5000.0 + begin_s - delay_s * (not lost) + PERIOD_S * k for k in range(200)]
    assert not any(checked(clock, stamps_s, since_s=begin_s + delay_s * lost))
    assert clock.changes == 0


def test_stamps_that_were_never_near_the_clock_or_agree_with_nothing_are_no_time_base() -> None:
    clock = ClockCheck()
    assert not any(checked(clock, [12.0 + PERIOD_S * k for k in range(200)]))
    clock, rng = warm(), np.random.default_rng(0)
    assert not any(checked(clock, list(rng.uniform(0.0, 4000.0, 200))))
    own = [5001.0 + PERIOD_S * k for k in range(100)]
    strange = [stamp + 300.0 * (k % 2) for k, stamp in enumerate(own)]  # a second publisher, in turns
    assert checked(clock, strange, since_s=1.0) == [k % 2 == 0 for k in range(100)] and clock.changes == 0


@pytest.mark.parametrize("robot", [PANDA, X500], ids=lambda robot: robot.name)
def test_a_state_that_repeats_in_motion_is_refused_and_the_next_new_one_is_good(robot: Robot) -> None:
    intake, q, v = StateValidation(robot), robot.home.copy(), np.zeros(robot.dof)
    v[0] = 0.3
    for k in range(50):
        q[0] += v[0] * PERIOD_S
        assert intake.offer(State(q.copy(), v), PERIOD_S * k, 0.0) is None
    last, refused = PERIOD_S * 49, [intake.offer(State(q.copy(), v), PERIOD_S * k, 0.0) for k in range(50, 80)]
    assert refused[:3] == [None] * 3 and refused[4:] == [Rejection.FROZEN] * 26
    assert intake.latest is not None and intake.latest.stamp_s <= last + FROZEN_S
    q[0] += v[0] * 31 * PERIOD_S
    assert intake.offer(State(q.copy(), v), PERIOD_S * 80, 0.0) is None


@pytest.mark.parametrize("robot", [PANDA, X500], ids=lambda robot: robot.name)
def test_a_robot_that_stands_and_a_sensor_slower_than_its_driver_are_not_frozen(robot: Robot) -> None:
    intake = StateValidation(robot)
    assert all(intake.offer(State(robot.home, np.zeros(robot.dof)), PERIOD_S * k, 0.0) is None for k in range(1000))
    intake, q, v = StateValidation(robot), robot.home.copy(), np.zeros(robot.dof)
    v[0] = 2.0
    for k in range(400):  # a sensor at 50 Hz, a driver at 200
        q[0] += 4 * v[0] * PERIOD_S * (k % 4 == 0) * (1 if k % 80 < 40 else -1)
        assert intake.offer(State(q.copy(), v), PERIOD_S * k, 0.0) is None


def test_an_imu_whose_clock_stands_is_as_old_as_its_arrival_says() -> None:
    intake, force = InertialIntake(), np.array([0.0, 0.0, 9.81])
    for k in range(100):
        stamp_s = 1.0 + PERIOD_S * min(k, 20)
        assert intake.offer(Inertial(force, np.full(3, 0.01 * k)), stamp_s, PERIOD_S * k) is None
        assert intake.latest is not None and intake.latest.stamp_s == pytest.approx(1.0 + PERIOD_S * k)
    same = intake.latest.inertial
    assert intake.offer(same, stamp_s, 0.5) is Rejection.DUPLICATE


numbers = st.floats(width=64) | st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 1e308])
stamps = st.sampled_from([0.0, 1.0, 1.005, 1.01, 1.015, 1.02, -1.0, 1e9, np.nan, np.inf, -np.inf]) | st.floats()


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(st.lists(numbers, min_size=7, max_size=7), st.lists(numbers, min_size=6, max_size=6), stamps),
        max_size=20,
    )
)
def test_whatever_is_offered_the_latest_state_is_finite_normalised_and_no_error_is_raised(offers: list) -> None:
    intake = StateValidation(X500)
    for q, v, stamp in offers:
        intake.offer(State(np.array(q), np.array(v)), stamp, 0.0)
        assert len(intake.refusals.reason) < 1000
        if intake.latest is not None:
            got = intake.latest.state
            assert np.isfinite([*got.q, *got.v, intake.latest.stamp_s]).all()
            assert np.linalg.norm(got.q[3:]) == pytest.approx(1.0, abs=1e-9)


def test_a_reason_is_bounded_and_the_most_frequent_since_the_last_good_message() -> None:
    refusals = Refusals()
    refusals.add(Rejection.SIZE)
    refusals.good()
    assert refusals.reason == "" and refusals.warning == ""
    for why in (
        Rejection.NOT_FINITE,
        Rejection.FRAME,
        Rejection.FRAME,
        Rejection.DUPLICATE,
        Rejection.DUPLICATE,
        Rejection.DUPLICATE,
    ):
        refusals.add(why, "x" * 10_000_000 if why is Rejection.FRAME else "")
    assert refusals.reason.startswith("xxx") and len(refusals.reason) < 400
    assert refusals.counts["frame"] == 2


def test_every_reason_has_words_for_the_user() -> None:
    assert all(Refusals().words(why) for why in Rejection)
