# SPDX-License-Identifier: Apache-2.0
"""Callbacks that fail, of every kind: the node lives, counts, names and answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from time import monotonic

import pytest
import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.executors import Executor
from rclpy.experimental import EventsExecutor
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from metarl_robot.core.errors import SignalError
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.guarded import GuardedNode, described, readable

WAIT_S = 60.0  # before giving up; never part of a verdict


class Fragile(GuardedNode):
    """Callbacks that raise on demand."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__("fragile", context=context)
        self.taken: list[float] = []
        self.told: list[str] = []
        self.create_subscription(Float64MultiArray, "numbers", self._take, 10)
        self.create_service(Trigger, "fail", self._fail)

    def on_fault(self, reason: str) -> None:
        self.told.append(reason)
        if "cascade" in reason:
            raise RuntimeError("again")

    def _take(self, message: Float64MultiArray) -> None:
        number = message.data[0]
        if number < 0.0:
            raise SignalError("negative")
        if number > 9.0:
            raise RuntimeError("cascade" if number > 99.0 else "too large")
        self.taken.append(number)

    def _fail(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        raise KeyError("nothing there")


class Bench:
    """The node, its executor, and a second node that talks to it."""

    def __init__(self, context: rclpy.Context) -> None:
        self.node, self.other = Fragile(context), rclpy.create_node("other", context=context)
        self._executor: Executor = EventsExecutor(context=context)
        for node in (self.node, self.other):
            self._executor.add_node(node)
        self._out = self.other.create_publisher(Float64MultiArray, "numbers", 10)
        self.wait(lambda: self._out.get_subscription_count() > 0)

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = monotonic() + WAIT_S
        while not condition():
            assert monotonic() < deadline
            self._executor.spin_once(timeout_sec=0.01)  # an error that leaves a callback ends the test here

    def send(self, *numbers: float) -> None:
        for number in numbers:
            self._out.publish(Float64MultiArray(data=[number]))

    def call(self, kind: object, service: str, request: object) -> object:
        client = self.other.create_client(kind, service)
        self.wait(client.service_is_ready)
        future = client.call_async(request)
        self.wait(future.done)
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        for node in (self.node, self.other):
            node.destroy_node()


@pytest.fixture
def bench() -> Iterator[Bench]:
    context = rclpy.Context()
    context.init(domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    made = Bench(context)
    yield made
    made.close()
    context.try_shutdown()


def test_a_message_that_cannot_be_read_is_counted_and_those_behind_it_are_taken(bench: Bench) -> None:
    bench.send(1.0, -1.0, 2.0)
    bench.wait(lambda: len(bench.node.taken) == 2)
    assert bench.node.taken == [1.0, 2.0] and not bench.node.faults
    assert bench.node.health()["unreadable_numbers"] == 1 and "negative" in str(bench.node.health()["last_unreadable"])


def test_an_unforeseen_error_is_named_with_its_place_and_those_behind_it_are_taken(bench: Bench) -> None:
    bench.send(10.0, 100.0, 3.0)
    bench.wait(lambda: bench.node.taken)
    assert bench.node.taken == [3.0] and len(bench.node.told) == 2
    assert bench.node.told[0].startswith("numbers: RuntimeError: too large (test_guarded.py:")
    assert bench.node.faults == 3 and "then RuntimeError: again" in bench.node.last_fault  # on_fault may fail, too
    assert any("unforeseen error in numbers" in trouble for trouble in bench.node.troubles())


def test_a_callback_that_always_fails_is_given_up_until_the_node_is_configured_again(bench: Bench) -> None:
    bench.node.GIVE_UP_AFTER = 3
    for number in (10.0, 11.0, 12.0):
        bench.send(number)
        bench.wait(lambda number=number: bench.node.faults == number - 9.0)
    before_s = bench.node._heard_s["numbers"]
    bench.send(4.0)
    bench.wait(lambda: bench.node._heard_s["numbers"] > before_s)
    assert not bench.node.taken and "numbers is given up after" in bench.node.troubles()[0]
    bench.node.forget_faults()
    bench.send(5.0)
    bench.wait(lambda: bench.node.taken)
    assert bench.node.taken[-1] == 5.0 and not bench.node.troubles()


def test_a_service_that_fails_is_answered(bench: Bench) -> None:
    answer = bench.call(Trigger, "fail", Trigger.Request())
    assert not answer.success and "KeyError" in answer.message
    assert bench.node.told == [f"service fail: {answer.message.removeprefix('unforeseen error: ')}"]


def test_a_parameter_of_no_type_is_refused_and_no_fault_of_the_node(bench: Bench) -> None:
    request = SetParameters.Request()
    request.parameters.append(_parameter_of_no_type())
    bench.call(SetParameters, "/fragile/set_parameters", request)
    assert not bench.node.told


def _parameter_of_no_type() -> object:
    from rcl_interfaces.msg import Parameter, ParameterValue

    return Parameter(name="use_sim_time", value=ParameterValue(type=200))


@pytest.mark.parametrize("seconds", [-1, -(2**31)])
def test_a_negative_time_on_clock_is_refused_and_the_next_is_taken(bench: Bench, seconds: int) -> None:
    node = bench.node
    node.set_parameters([rclpy.Parameter("use_sim_time", value=True)])
    out = bench.other.create_publisher(Clock, topics.CLOCK, topics.CLOCK_OUT)
    bad, good = Clock(), Clock()
    bad.clock.sec, good.clock.sec = seconds, 7

    def sent(message: Clock, heard: Callable[[], object]) -> None:
        def taken() -> object:
            out.publish(message)
            return heard()

        bench.wait(taken)

    sent(bad, lambda: node.unreadable[topics.CLOCK])
    sent(good, lambda: node.get_clock().now().nanoseconds == 7 * 10**9)
    assert not node.faults


def test_silence_on_an_expected_topic_is_named_once_it_has_spoken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = bench.node
    node.expect("numbers", "sender")
    assert not node.silences()
    bench.send(1.0)
    bench.wait(lambda: node.taken)
    assert not node.silences()
    later = monotonic() + 3.0
    monkeypatch.setattr("metarl_robot.ros_nodes.guarded.monotonic", lambda: later)
    assert "/numbers" in node.silences()[0] and "has the sender ended?" in node.silences()[0]


def test_an_error_is_described_in_one_short_line() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert len(described(ValueError("9" * 5000))) < 300
    assert described(ValueError("two\nlines")) == "ValueError: two lines"
    assert "cannot be read" in described(UnspeakableError())


def test_whatever_reading_raises_means_that_it_cannot_be_read() -> None:
    with pytest.raises(SignalError, match="invalid literal"):
        readable(lambda: int("²"))
