# SPDX-License-Identifier: Apache-2.0
"""The clock that several plants share: one publishes, the others follow, and another one takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from metarl_robot.ros_nodes import topics  # noqa: E402
from metarl_robot.ros_nodes.convert import nanoseconds  # noqa: E402
from metarl_robot.ros_nodes.shared_clock import COAST_S, SharedClock  # noqa: E402
from tests.ros.conftest import WAIT_S, free_domain  # noqa: E402

MS = 10**6
SECOND = 10**9


class Bench:
    """Plants' clocks in one process, and what is published on /clock."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init(domain_id=free_domain())
        self.executor = SingleThreadedExecutor(context=self.context)
        self.clocks: dict[str, SharedClock] = {}
        self.advanced: list[str] = []
        self.resets: list[str] = []
        self.times: list[int] = []
        listener = self._node("listener")
        listener.create_subscription(
            Clock, topics.CLOCK, lambda m: self.times.append(nanoseconds(m.clock)), topics.STATE_IN
        )

    def _node(self, name: str) -> Node:
        node = rclpy.create_node(name, context=self.context)
        self.executor.add_node(node)
        return node

    def clock(self, name: str, lockstep: bool, publishes: bool = True, start_within_s: float = WAIT_S) -> SharedClock:
        made = SharedClock(
            self._node(name),
            lockstep,
            publishes,
            start_within_s,
            lambda: self.advanced.append(name),
            lambda: self.resets.append(name),
        )
        made.start()
        self.clocks[name] = made
        return made

    def wait(self, condition: Callable[[], bool], each: Callable[[], object] = bool) -> None:
        end_s = monotonic() + WAIT_S
        while not condition():
            assert monotonic() < end_s, f"times: {self.times[-5:]}"
            each()
            self.executor.spin_once(timeout_sec=0.005)

    def end(self, name: str) -> None:
        self.clocks.pop(name).close()

    def close(self) -> None:
        for name in list(self.clocks):
            self.end(name)
        self.executor.shutdown()
        self.context.try_shutdown()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_one_publishes_and_the_others_follow(bench: Bench) -> None:
    first, second, foreign = bench.clock("a", True), bench.clock("b", True), bench.clock("c", True, publishes=False)
    assert (first.holds, second.holds, foreign.holds) == (True, False, False)
    assert not first.shared and second.shared and foreign.shared


def test_in_lockstep_each_waits_for_the_other(bench: Bench) -> None:
    """Both ask for their own next time; a time passes only when the other has asked for a later one."""
    arm, drone = bench.clock("arm", True), bench.clock("drone", True)
    bench.wait(lambda: arm._node.count_publishers(topics.CLOCK_REQUEST) == 2)
    arm.wait()
    drone.wait()
    bench.wait(lambda: bench.clocks["arm"]._time.advance("arm", monotonic()) or len(arm._time._requests) == 2)
    next_arm, next_drone = 5 * MS, 4 * MS

    def step() -> None:
        nonlocal next_arm, next_drone
        for clock in (arm, drone):
            clock.look()
        next_arm += 5 * MS * arm.reached(next_arm)
        next_drone += 4 * MS * drone.reached(next_drone)
        assert arm.now_ns <= min(next_arm, next_drone)

    bench.wait(lambda: min(next_arm, next_drone) > 100 * MS, step)
    assert bench.times == sorted(bench.times)
    held_ns = next_drone
    end_s = monotonic() + 0.3
    bench.wait(lambda: monotonic() > end_s, lambda: (drone.look(), drone.reached(next_drone)))
    assert drone.now_ns <= held_ns  # the arm asks no more, and is not forgotten yet


def test_in_real_time_followers_go_on_and_another_takes_over_without_a_step_back(bench: Bench) -> None:
    arm, drone = bench.clock("arm", False), bench.clock("drone", False)
    bench.wait(lambda: drone.now_ns > 50 * MS, lambda: arm.run(5 * MS, moves=True) or arm.tell())
    before_ns = drone.now_ns
    bench.end("arm")
    bench.wait(lambda: drone.holds, drone.look)
    assert drone.now_ns >= before_ns and drone.now_ns - before_ns < (COAST_S + 1.0) * SECOND
    count = len(bench.times)
    bench.wait(lambda: len(bench.times) > count, lambda: drone.run(4 * MS, moves=True) or drone.tell())
    assert bench.times == sorted(bench.times)


def test_a_clock_that_went_back_starts_its_followers_again(bench: Bench) -> None:
    follower = bench.clock("arm", False, publishes=False)
    out = bench._node("gazebo").create_publisher(Clock, topics.CLOCK, topics.CLOCK_OUT)

    def send(time_s: int) -> Callable[[], None]:
        message = Clock()
        message.clock.sec = time_s
        return lambda: out.publish(message)

    bench.wait(lambda: follower.now_ns >= 30 * SECOND, send(30))
    bench.wait(lambda: bench.resets == ["arm"], send(2))
    assert 2 * SECOND <= follower.now_ns < 5 * SECOND + COAST_S * SECOND
