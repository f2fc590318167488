# SPDX-License-Identifier: Apache-2.0
"""The clock of all simulated robots in a graph: one plant publishes /clock, the others follow it.

The plants of a ROS domain on this machine agree by a claim that the kernel gives to one process at a time
(unique_name.py): the plant that has it publishes. When its process ends for any reason, another plant takes over and
continues from the present time. A clock from elsewhere (Gazebo, a bag) is followed with `publish_clock: false`.

Lockstep: every plant asks for the time to which it may be advanced, on /clock/request (std_msgs/Header: stamp, and the
plant's name as frame_id; stamp 0: it has no command yet). The publisher answers with the earliest of these as /clock
(sim/world_time.py). A plant that takes over is silent until the time that it asked for itself: a later one was not
published, but that one may have been, unheard by it. A request is repeated, so that lost messages do not stop the run.

Real time: the publisher advances /clock by its own control period. A follower estimates the present time between two
messages, for `COAST_S` at most, which also covers the change of the publisher.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import nanoseconds, time_message
from metarl_robot.ros_nodes.unique_name import NameTakenError, claim_name
from metarl_robot.sim.world_time import WorldTime

COAST_S = 1.0
"""Longest time that a follower in real time continues without a message on /clock [s]."""
_SILENT_S = 0.03  # a claim is tried again after this silence of /clock
_BACK_NS = NANOSECONDS // 2  # a clock that stays behind by more than this has been reset
_REPEAT_S = 0.05
_ROUNDING_NS = 1000
_CLAIM = "/clock (publisher)"


class SharedClock:
    """The world's time, as one plant sees it.

    on_advance: called when another node advanced the time. on_back: called when a followed clock was reset.

    Arguments:
        node: the plant.
        lockstep: see the module's docstring.
        publishes: whether this plant may publish /clock.
        start_within_s: see WorldTime.
    """

    def __init__(
        self,
        node: Node,
        lockstep: bool,
        publishes: bool,
        start_within_s: float,
        on_advance: Callable[[], None],
        on_back: Callable[[], None],
    ) -> None:
        self._node, self._lockstep, self._publishes = node, lockstep, publishes
        self._on_advance, self._on_back = on_advance, on_back
        self._name = node.get_fully_qualified_name()
        self._time = WorldTime(start_within_s)
        self._claim: socket.socket | None = None
        self._out: Any = None
        self._requests_in: Any = None
        self._requests_out = node.create_publisher(Header, topics.CLOCK_REQUEST, topics.REPORT)
        self._clock_in: Any = None
        self._request_ns: int | None = None
        self._told_ns = 0  # no later time was published before this plant took over
        self._asked_s = self._heard_s = self._forward_s = monotonic()
        self._said_late: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether this plant publishes /clock."""
        return self._claim is not None

    @property
    def now_ns(self) -> int:
        """The world's time; a follower's estimate of it in real time."""
        if self._lockstep or self.holds or self._clock_in is None or self._time.now_ns == 0:
            return self._time.now_ns
        return self._time.now_ns + round(min(monotonic() - self._heard_s, COAST_S) * NANOSECONDS)

    @property
    def shared(self) -> bool:
        """Whether other robots go by this clock, so that it must not be reset."""
        return not self.holds or self._time.shared(self._name, monotonic())

    def start(self) -> None:
        """Publish or follow /clock."""
        if not self._take():
            self._clock_in = self._node.create_subscription(Clock, topics.CLOCK, self._on_clock, topics.STATE_IN)
            self._node.get_logger().info(f"follows {self._node.resolve_topic_name(topics.CLOCK)}")

    def stop(self) -> None:
        """Leave the clock to other plants."""
        for name, destroy in (
            ("_out", self._node.destroy_publisher),
            ("_requests_in", self._node.destroy_subscription),
            ("_clock_in", self._node.destroy_subscription),
        ):
            if getattr(self, name) is not None:
                destroy(getattr(self, name))
                setattr(self, name, None)
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def close(self) -> None:
        """Stop, and release everything."""
        self.stop()
        self._node.destroy_publisher(self._requests_out)

    def look(self) -> None:
        """Take over a silent clock, and repeat the last request or time; call it several times a second."""
        now_s = monotonic()
        if self._clock_in is not None and now_s - self._heard_s > _SILENT_S and self._take():
            self._node.get_logger().info("publishes the clock now, which was silent")
        if now_s - self._asked_s >= _REPEAT_S and self._request_ns is not None:
            self._ask(self._request_ns, now_s)
            if self.holds:
                self.tell()
                if self._time.advance(self._name, now_s):
                    self._advanced()

    def wait(self) -> None:
        """Say that this robot has no command yet; at time 0 the world's start waits for it."""
        if self._request_ns != 0:
            self._ask(0, monotonic())

    def reached(self, next_ns: int) -> bool:
        """Whether this robot may be advanced to next_ns now; if not, `on_advance` is called later."""
        now_s = monotonic()
        if (self._lockstep and next_ns != self._request_ns) or now_s - self._asked_s >= _REPEAT_S:
            self._ask(next_ns, now_s)
        if self.holds and self._lockstep and self._time.advance(self._name, now_s):
            self._say_late()
            if self._time.others(self._name, now_s):
                self.tell()
        return self.now_ns + _ROUNDING_NS >= next_ns

    def run(self, period_ns: int, moves: bool) -> None:
        """Real time: the publisher lets a period pass, if its own robot moves or another does."""
        if self.holds and (moves or self._time.others(self._name, monotonic())):
            self._time.pass_to(self._time.now_ns + period_ns)
            if not moves:
                self.tell()

    def restart(self) -> None:
        """Begin again at 0, if no other robot goes by this clock."""
        if not self.shared:
            self._time.restart()
            self._told_ns = 0
        self._request_ns = None

    def tell(self) -> None:
        """Publish the time, if this plant is the one that does and no later one may have been published."""
        if self._out is not None and self._time.now_ns >= self._told_ns:
            self._out.publish(Clock(clock=time_message(self._time.now_ns)))

    # Requests.

    def _ask(self, next_ns: int, now_s: float) -> None:
        self._request_ns, self._asked_s = next_ns, now_s
        if self.holds:
            self._time.ask(self._name, next_ns, now_s)
        else:
            header = Header(stamp=time_message(next_ns), frame_id=self._name)
            self._requests_out.publish(header)

    def _on_request(self, request: Header) -> None:
        now_s = monotonic()
        self._time.ask(request.frame_id, nanoseconds(request.stamp), now_s)
        if self._lockstep and self._time.advance(self._name, now_s):
            self._advanced()

    def _advanced(self) -> None:
        self._say_late()
        self.tell()
        self._on_advance()

    def _say_late(self) -> None:
        if self._time.late != self._said_late:
            self._said_late = self._time.late
            names = ", ".join(self._said_late)
            self._node.get_logger().warning(f"time starts without {names}: no command yet; it joins with its first one")

    # The clock.

    def _take(self) -> bool:
        """Become the publisher, if nobody else on this machine is."""
        if not self._publishes:
            return False
        now_ns = self.now_ns
        try:
            self._claim = claim_name(self._node.context.get_domain_id(), _CLAIM)
        except NameTakenError:
            return False
        if self._clock_in is not None:
            self._node.destroy_subscription(self._clock_in)
            self._clock_in = None
        self._time.pass_to(now_ns)
        self._told_ns = (self._request_ns or 0) if self._lockstep else 0
        self._out = self._node.create_publisher(Clock, topics.CLOCK, topics.CLOCK_OUT)
        self._requests_in = self._node.create_subscription(
            Header, topics.CLOCK_REQUEST, self._on_request, topics.REPORT
        )
        return True

    def _on_clock(self, message: Clock) -> None:
        time_ns, now_s = nanoseconds(message.clock), monotonic()
        if time_ns < self._time.now_ns - _BACK_NS:
            if now_s - self._forward_s > _BACK_NS / NANOSECONDS:
                self._heard_s = self._forward_s = now_s
                self._time.restart(time_ns)
                self._on_back()
            return
        self._heard_s = self._forward_s = now_s
        self._time.pass_to(time_ns)
        if self._lockstep:
            self._on_advance()
