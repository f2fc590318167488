# SPDX-License-Identifier: Apache-2.0
"""Hand-over of messages between the mpc node and the gate node in one process (mpc_with_gate.py).

Each node has a thread and an executor of its own, and touches only its own data. Messages pass between them as Python
objects, without DDS, into an inbox; the receiver's thread handles them. Only the gate subscribes to the robot's
measurements: it handles each message first, then hands it on. So a controller that hangs withholds nothing from the
gate, and no message is read from DDS twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from threading import Event, Lock
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile

from metarl_robot.ros_nodes.guarded import GuardedNode

WAKE_AGAIN_S = 0.05
"""A waiting message wakes the executor again after this time: rclpy does not promise to run every task."""
ACTIVATED = "activated"  # name under which the mpc node tells the gate that it acts


class HandedCommand(NamedTuple):
    """A command from the mpc node. stamp_ns: of the state that it answers. effort: (nu,)."""

    stamp_ns: int
    effort: NDArray[np.float64]


@dataclass(frozen=True)
class _Listener:
    take: Callable[[Any], None]
    depth: int


class Inbox:
    """Messages to a node from another thread, handled in the thread of the node's executor in the order of arrival.

    Of each topic at most `depth` messages wait; the oldest is dropped, as by a subscription. A topic without a listener
    is ignored. Messages that were posted with `keep` reach later listeners too.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._node: GuardedNode | None = None
        self._listeners: dict[str, _Listener] = {}
        self._waiting: deque[tuple[str, Any]] = deque()
        self._kept: dict[str, Any] = {}
        self._handled = Event()
        self._woken_s = -inf

    def open(self, node: GuardedNode) -> None:
        """Use a node's executor."""
        self._node = node

    def listen(self, topic: str, take: Callable[[Any], None], depth: int) -> None:
        """Handle the messages of a topic."""
        with self._lock:
            self._listeners[topic] = _Listener(take, depth)
        if topic in self._kept:
            self.post(topic, self._kept[topic])

    def leave(self, topic: str) -> None:
        """Handle no more messages of a topic."""
        with self._lock:
            self._listeners.pop(topic, None)

    def post(self, topic: str, message: Any, wake: bool = True, keep: bool = False) -> None:
        """Add a message. wake: handle it now, not with the next one that wakes."""
        with self._lock:
            if keep:
                self._kept[topic] = message
            listener = self._listeners.get(topic)
            if listener is None:
                return
            self._make_room(topic, listener.depth)
            self._waiting.append((topic, message))
            now_s = monotonic()
            woken = now_s - self._woken_s < WAKE_AGAIN_S
            executor = None if self._node is None or woken or not wake else self._node.executor
            if executor is not None:
                self._woken_s = now_s
            self._handled.clear()
        if executor is not None:
            executor.create_task(self.handle)

    def _make_room(self, topic: str, depth: int) -> None:
        same = [k for k, (name, _) in enumerate(self._waiting) if name == topic]
        if len(same) >= depth:
            del self._waiting[same[0]]

    def handle(self) -> None:
        """Handle all waiting messages; the node's executor calls this."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._woken_s = -inf
                    self._handled.set()
                    return
                topic, message = self._waiting.popleft()
                listener = self._listeners.get(topic)
            if listener is not None:
                listener.take(message)

    def wait_until_handled(self, timeout_s: float) -> bool:
        """Wait until no message waits; False after timeout_s."""
        return self._handled.wait(timeout_s)


class Link:
    """The inboxes of the two nodes of a process. gate: of the gate node. mpc: of the mpc node."""

    def __init__(self) -> None:
        self.gate, self.mpc = Inbox(), Inbox()


class HandedOn:
    """Stands for the gate node where measurements are subscribed: it also hands each message on to the mpc node."""

    def __init__(self, node: GuardedNode, inbox: Inbox) -> None:
        self._node, self._inbox = node, inbox

    def create_subscription(self, kind: Any, topic: str, take: Callable[[Any], None], qos: QoSProfile) -> Any:
        def both(message: Any) -> None:
            try:
                take(message)
            finally:
                self._inbox.post(topic, message)

        return self._node.create_subscription(kind, topic, both, qos)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


class Handed:
    """Stands for the mpc node where it subscribes to what the gate hands on. topic: of a subscription."""

    def __init__(self, node: GuardedNode, inbox: Inbox) -> None:
        self._node, self._inbox = node, inbox

    def create_subscription(self, kind: Any, topic: str, take: Callable[[Any], None], qos: QoSProfile) -> HandedTopic:
        self._inbox.listen(topic, self._node.guarded(topic, take), qos.depth)
        return HandedTopic(topic, self._inbox)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


@dataclass(frozen=True)
class HandedTopic:
    """A topic that the mpc node hears from the gate; in the place of a subscription."""

    topic: str
    inbox: Inbox

    def destroy(self) -> None:
        self.inbox.leave(self.topic)
