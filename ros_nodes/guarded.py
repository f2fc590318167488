# SPDX-License-Identifier: Apache-2.0
"""A node with guarded callbacks: no error in a subscription, timer, service or parameter callback ends it.

A guard sorts errors into three classes:

    unreadable   a message cannot be read (SignalError), or any error in a callback of rclpy itself, such as its
                 services and its subscription of /clock: it is refused and counted
    refused      a transition of the life cycle that is not possible now (RCLError of a service): its caller is informed
    fault        any other error, a defect of this project: it is counted and logged, and `on_fault` is called; the
                 gate then stops the robot

A callback that fails `GIVE_UP_AFTER` times in a row is disabled until the node is configured again, so that a node
that cannot work reports it and stops. 0: never.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from metarl_robot.core.errors import SignalError
from metarl_robot.ros_nodes.convert import UnusableError
from metarl_robot.ros_nodes.qos_overrides import overridden
from metarl_robot.safety.refusals import Rejection

Read = TypeVar("Read")
RCLError = rclpy_implementation.RCLError
_LONGEST_TEXT = 200  # characters of an error's text
_FRESH_S = 10.0  # a fault is an error in /diagnostics for this long
_SILENT_S = 1.0  # longest allowed silence of an expected topic


def described(error: BaseException) -> str:
    """An error in one line: type, text and place."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "(its text cannot be read)"
    text = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}, {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def readable(read: Callable[[], Read]) -> Read:
    """Return the result of `read`; any error becomes UnusableError (a SignalError)."""
    try:
        return read()
    except SignalError:
        raise
    except Exception as error:
        raise UnusableError(Rejection.UNREADABLE, f"cannot be read: {described(error)}") from error


class GuardedNode(LifecycleNode):
    """A lifecycle node with guarded callbacks; see the module's docstring.

    unreadable: count of unreadable messages by topic. faults: their number. last_fault: text of the newest.
    """

    GIVE_UP_AFTER = 100

    def __init__(self, name: str, **options: Any) -> None:
        self.unreadable: Counter[str] = Counter()
        self.faults, self.last_fault = 0, ""
        self._fault_s = -_FRESH_S
        self._last_unreadable = ""
        self._given_up: dict[str, str] = {}
        self._heard_s: dict[str, float] = {}
        self._expected: dict[str, str] = {}
        self._foreign = True
        super().__init__(name, **options)
        for service in self.services:
            if not _is_guarded(service.callback):  # the life cycle's services, which are created differently
                service.callback = _Guard(self, service.srv_name, service.callback).serve
        self._foreign = False

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Any, qos_profile: Any, **options: Any
    ) -> Subscription:
        guard, qos = _Guard(self, topic, callback), qos_profile
        if not self._foreign:
            qos, options["qos_overriding_options"] = overridden(self, "subscription", topic, qos_profile)
        return super().create_subscription(msg_type, topic, guard.take, qos, **options)

    def create_publisher(self, msg_type: Any, topic: str, qos_profile: Any, **options: Any) -> Publisher:
        return super().create_publisher(msg_type, topic, self._publisher_qos(topic, qos_profile, options), **options)

    def create_lifecycle_publisher(self, msg_type: Any, topic: str, qos_profile: Any, **options: Any) -> Any:
        qos = self._publisher_qos(topic, qos_profile, options)
        return super().create_lifecycle_publisher(msg_type, topic, qos, **options)

    def _publisher_qos(self, topic: str, qos: Any, options: dict[str, Any]) -> Any:
        """The quality of service of a publisher; adds to the options what rclpy needs to know of it."""
        if not self._foreign:
            qos, options["qos_overriding_options"] = overridden(self, "publisher", topic, qos)
        return qos

    def create_service(self, srv_type: Any, srv_name: str, callback: Callable[..., Any], **options: Any) -> Service:
        return super().create_service(srv_type, srv_name, _Guard(self, srv_name, callback).serve, **options)

    def create_timer(self, timer_period_sec: float, callback: Callable[[], Any], *args: Any, **options: Any) -> Timer:
        name = getattr(callback, "__name__", "timer")
        return super().create_timer(timer_period_sec, _Guard(self, f"timer {name}", callback).tick, *args, **options)

    def guarded(self, where: str, callback: Callable[[Any], Any]) -> Callable[[Any], None]:
        """A guarded callback for messages that do not come by a subscription. where: its topic."""
        return _Guard(self, where, callback).take

    # Errors.

    def on_fault(self, reason: str) -> None:
        """React to an unexpected error of a callback; reason: place and error in one line."""

    def fault(self, where: str, error: BaseException) -> None:
        """Count and log an unexpected error; the traceback goes to the log level DEBUG."""
        self.faults += 1
        self._fault_s = monotonic()
        self.last_fault = f"{where}: {described(error)}"
        self.get_logger().error(
            f"unforeseen error in {self.last_fault}; the node continues. Please report it (--log-level debug shows the "
            "traceback)",
            throttle_duration_sec=1.0,
        )
        self.get_logger().debug("".join(traceback.format_exception(error)))
        try:
            self.on_fault(self.last_fault)
        except Exception as second:
            self.faults += 1
            self.last_fault = f"{where}: {described(error)}; then {described(second)}"

    def refuse(self, text: str) -> None:
        """Log a refusal; at most once a second."""
        self.get_logger().warning(text[: 2 * _LONGEST_TEXT], throttle_duration_sec=1.0)

    def _refuse_message(self, topic: str, error: BaseException) -> None:
        self.unreadable[topic] += 1
        self._last_unreadable = f"{topic}: {described(error)}"
        self.refuse(f"message refused on {self._last_unreadable}")

    def _give_up(self, where: str) -> None:
        if where not in self._given_up:
            self._given_up[where] = self.last_fault
            self.get_logger().error(
                f"{where} failed {self.GIVE_UP_AFTER} times in a row: given up until the node is configured again"
            )

    def forget_faults(self) -> None:
        """Reset faults when the node is configured again; disabled callbacks are enabled."""
        self._given_up.clear()
        self._heard_s.clear()
        self._expected.clear()
        self._fault_s = -_FRESH_S

    # Reports for /diagnostics.

    def expect(self, topic: str, sender: str) -> None:
        """Report silence on a topic (as given to `create_subscription`) as an error after its first message."""
        self._expected[topic] = sender

    def silences(self) -> list[str]:
        """Texts for the expected topics that are silent."""
        now_s = monotonic()
        silent = {topic: now_s - self._heard_s[topic] for topic in self._expected if topic in self._heard_s}
        return [
            f"no message on {self.resolve_topic_name(topic)} for {silent_s:.1f} s: has the {self._expected[topic]} "
            "ended?"
            for topic, silent_s in silent.items()
            if silent_s > _SILENT_S
        ]

    def troubles(self) -> list[str]:
        """Errors that /diagnostics must show in addition to the node's own status."""
        given_up = [f"{where} is given up after {reason}" for where, reason in self._given_up.items()]
        fresh = (
            [f"unforeseen error in {self.last_fault}"]
            if not given_up and monotonic() - self._fault_s < _FRESH_S
            else []
        )
        return given_up + fresh + self.silences()

    def health(self) -> dict[str, object]:
        """Counts for /diagnostics; empty if all are zero."""
        counts: dict[str, object] = {
            f"unreadable_{topic.lstrip('~/')}": count for topic, count in self.unreadable.items()
        }
        if self._last_unreadable:
            counts["last_unreadable"] = self._last_unreadable
        return counts | ({"faults": self.faults, "last_fault": self.last_fault} if self.faults else {})


class _Guard:
    """Calls one callback and passes its errors to the node.

    It has one method for each kind of callback, because rclpy inspects their signatures.
    """

    def __init__(self, node: GuardedNode, where: str, callback: Callable[..., Any]) -> None:
        self._node, self._where, self._callback = node, where, callback
        self._failures = 0
        rclpys = node._foreign or getattr(callback, "__module__", "").startswith("rclpy.")
        self._unreadable = Exception if rclpys else SignalError

    def take(self, message: Any) -> None:
        """Handle a message."""
        node, where = self._node, self._where
        node._heard_s[where] = monotonic()
        if self._failures and where in node._given_up:
            return
        try:
            self._callback(message)
            self._failures = 0
        except self._unreadable as error:
            node._refuse_message(where, error)
        except Exception as error:
            self._failed(error)

    def tick(self) -> None:
        """Handle a timer."""
        if self._failures and self._where in self._node._given_up:
            return
        try:
            self._callback()
            self._failures = 0
        except Exception as error:
            self._failed(error)

    def serve(self, request: Any, response: Any) -> Any:
        """Handle a service call. A failed call returns the response as far as it was filled in."""
        try:
            return self._callback(request, response)
        except RCLError as error:
            self._node.get_logger().error(f"refused: {error}")
        except self._unreadable as error:
            self._node._refuse_message(self._where, error)
        except Exception as error:
            self._node.fault(f"service {self._where}", error)
            if hasattr(response, "message"):
                response.message = f"unforeseen error: {described(error)}"
        if hasattr(response, "success"):
            response.success = False
        return response

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._node.fault(self._where, error)
        if 0 < self._node.GIVE_UP_AFTER <= self._failures:
            self._node._give_up(self._where)


def _is_guarded(callback: Callable[..., Any]) -> bool:
    return isinstance(getattr(callback, "__self__", None), _Guard)
