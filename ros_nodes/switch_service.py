# SPDX-License-Identifier: Apache-2.0
"""A service of the mpc node that answers when a new controller, or a new tuning, is at work.

    ~/switch_controller   rcl_interfaces/srv/SetParametersAtomically

It sets the parameters of its request (`controller`, `controller_config.*`) as `~/set_parameters_atomically` does,
which answers when building begins. This service answers when what was built has sent its first command, or with the
reason why it was not.

The answer has to wait without holding up the control loop. rclpy's EventsExecutor, which runs the loop, ends the
process at a service callback that is a coroutine, and its other executors poll one without a pause (7.1.6). So the
service belongs to a hidden node, in a thread that sleeps while a change is waited for; one request at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

import rclpy
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

LOOK_S = 0.02
"""Period of the look at the node while a change is waited for [s]."""
LONGEST_S = 120.0
"""Longest wait for a change; a first compilation may take a minute [s]."""
_END_S = 2.0
_ANSWER_S = 20.0


class Change(NamedTuple):
    """The newest change of the controller.

    number: of changes so far, failed ones included. building: name of the part that is being built, or empty.
    failure: why the newest one failed; empty if it is at work. gap_s: longest time between two commands meanwhile.
    """

    number: int = 0
    building: str = ""
    failure: str = ""
    gap_s: float = 0.0


class SwitchService:
    """The service of one node; see the module's docstring.

    Arguments:
        node: the mpc node.
        change: returns its newest change; called from another thread.
    """

    def __init__(self, node: Node, change: Callable[[], Change]) -> None:
        self._change, self._ending = change, threading.Event()
        self._serving, self._asking = (self._hidden(node, role) for role in ("server", "client"))
        name = f"{node.get_fully_qualified_name()}/set_parameters_atomically"
        self._set = self._asking.create_client(SetParametersAtomically, name)
        service = node.resolve_service_name("~/switch_controller")
        self._serving.create_service(SetParametersAtomically, service, self._serve)
        self._executors = [SingleThreadedExecutor(context=node.context) for _ in range(2)]
        for executor, own in zip(self._executors, (self._serving, self._asking), strict=True):
            executor.add_node(own)
        self._thread = threading.Thread(target=self._spin, name="switch service", daemon=True)
        self._thread.start()

    def _hidden(self, node: Node, role: str) -> Node:
        return rclpy.create_node(
            f"_{node.get_name()}_switch_{role}",
            namespace=node.get_namespace(),
            context=node.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )

    def close(self) -> None:
        """End the thread and its nodes."""
        self._ending.set()
        for executor in self._executors:
            executor.shutdown(_END_S)
        self._thread.join(_END_S)
        self._serving.destroy_node()
        self._asking.destroy_node()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executors[0].spin()

    def _serve(
        self, request: SetParametersAtomically.Request, response: SetParametersAtomically.Response
    ) -> SetParametersAtomically.Response:
        number = self._change().number
        future = self._set.call_async(request)
        self._executors[1].spin_until_future_complete(future, timeout_sec=_ANSWER_S)
        result = response.result
        if not future.done():
            self._set.remove_pending_request(future)
            result.successful, result.reason = False, f"the node does not answer within {_ANSWER_S:g} s"
            return response
        result.successful, result.reason = future.result().result.successful, future.result().result.reason
        if result.successful and self._begun(number):
            failure = self._at_work(number)
            gap_ms = 1e3 * self._change().gap_s
            result.successful = not failure
            result.reason = failure or f"at work; longest time between two commands: {gap_ms:.1f} ms"
        return response

    def _begun(self, number: int) -> bool:
        """Whether a change after `number` is in progress or over."""
        change = self._change()
        return change.number != number or bool(change.building)

    def _at_work(self, number: int) -> str:
        """Wait for the end of the change after `number`; returns its failure, or an empty text."""
        until_s = monotonic() + LONGEST_S
        while (change := self._change()).number == number:
            if monotonic() > until_s or self._ending.wait(LOOK_S):
                return f"{change.building} is not at work yet: do states of the robot come, and does the gate pass?"
        return change.failure
