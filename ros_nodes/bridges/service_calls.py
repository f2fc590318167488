# SPDX-License-Identifier: Apache-2.0
"""Calls of other nodes' services that never wait: an answer is handed to a function when it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from rclpy.node import Node

from metarl_robot.core.errors import one_line

UNANSWERED_S = 2.0
"""A service is called again at the earliest after this time without an answer."""


class ServiceCalls:
    """Clients of one node. services: type and name of each, by our name for it."""

    def __init__(self, node: Node, services: Mapping[str, tuple[Any, str]]) -> None:
        self._node = node
        self._clients = {name: node.create_client(*service) for name, service in services.items()}
        self._waits: dict[str, float] = {}

    def destroy(self) -> None:
        """Destroy the clients."""
        for client in self._clients.values():
            self._node.destroy_client(client)

    def is_there(self, name: str) -> bool:
        """Whether a service is offered."""
        return bool(self._clients[name].service_is_ready())

    def call(
        self, name: str, request: Any, take: Callable[[Any], None], failed: Callable[[str], None] = lambda why: None
    ) -> bool:
        """Call a service, unless it is missing or its last call waits for an answer; returns whether it was called.

        take: gets the answer. failed: gets the reason if there is none.
        """
        client, now_s = self._clients[name], monotonic()
        if now_s < self._waits.get(name, 0.0) or not client.service_is_ready():
            return False
        self._waits[name] = now_s + UNANSWERED_S

        def done(future: Any) -> None:
            self._waits.pop(name, None)
            error = future.exception()
            if error is not None:
                self._node.get_logger().error(f"{client.srv_name}: {one_line(error)}")
                failed(one_line(error))
            elif future.result() is not None:
                take(future.result())

        client.call_async(request).add_done_callback(done)
        return True
