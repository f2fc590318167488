# SPDX-License-Identifier: Apache-2.0
"""Policies of SROS2 with least privilege: exactly the topics, services and actions that running nodes have opened.

    python -m metarl_robot.ros_nodes.security_policy gate mpc reference > my.policy.xml

A policy has one enclave for each process, /metarl/NAME, and in it one profile for each node. Names are written relative
to the profile's namespace, so that a robot in a namespace needs another `ns` only; those that ROS itself opens are
absolute. Format: ROS 2 design article "ROS 2 Access Control Policies", version 0.2.0 of sros2.

The files of the package are share/security/*.policy.xml (docs/ROS.md, "A secured start").
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple
from xml.etree import ElementTree

import rclpy
from rclpy.node import Node

from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes import topics

ENCLAVES = "/metarl"
LOOK_S = 10.0
SETTLED_S = 2.0
ABSOLUTE = (
    "/rosout", "/parameter_events", topics.CLOCK, topics.CLOCK_REQUEST, topics.DIAGNOSTICS, topics.TF, topics.TF_STATIC,
)  # fmt: skip
"""Names that no namespace changes."""
_HIDDEN = "/_action/"
_RIGHTS = (
    ("topics", "topic", "publish"), ("topics", "topic", "subscribe"), ("services", "service", "reply"),
    ("services", "service", "request"), ("actions", "action", "execute"), ("actions", "action", "call"),
)  # fmt: skip


class Opened(NamedTuple):
    """Names that a node has opened, relative to its namespace where they are below it."""

    publish: frozenset[str] = frozenset()
    subscribe: frozenset[str] = frozenset()
    reply: frozenset[str] = frozenset()
    request: frozenset[str] = frozenset()
    execute: frozenset[str] = frozenset()
    call: frozenset[str] = frozenset()


def opened(observer: Node, name: str, namespace: str = "/") -> Opened:
    """What a node of the graph has opened, as an observer sees it now."""
    found = [
        {topic for topic, _ in look(name, namespace)}
        for look in (
            observer.get_publisher_names_and_types_by_node,
            observer.get_subscriber_names_and_types_by_node,
            observer.get_service_names_and_types_by_node,
            observer.get_client_names_and_types_by_node,
        )
    ]
    executed, called = ({each.partition(_HIDDEN)[0] for each in names if _HIDDEN in each} for names in found[2:])
    plain = [{each for each in names if _HIDDEN not in each} for names in found]
    prefix = namespace.rstrip("/") + "/"
    publish, subscribe, reply, request, execute, call = (
        frozenset(_relative(each, prefix) for each in names) for names in (*plain, executed, called)
    )
    return Opened(publish, subscribe, reply, request, execute, call)


def _relative(name: str, prefix: str) -> str:
    return name if name in ABSOLUTE else name.removeprefix(prefix)


def settled(observer: Node, name: str, spin: Callable[[], None], namespace: str = "/") -> Opened:
    """What a node has opened once nothing has changed for a while. spin: lets the observer hear of others.

    Raises:
        MetaRLError: there is no such node.
    """
    begun_s = changed_s = monotonic()
    last = Opened()
    while not last.publish or monotonic() - changed_s < SETTLED_S:
        spin()
        nodes = observer.get_node_names_and_namespaces()
        if (name, namespace) not in nodes:
            if monotonic() - begun_s > LOOK_S:
                others = ", ".join(sorted(each for each, _ in nodes))
                raise MetaRLError(f"no node '{name}' in namespace '{namespace}'; there are: {others}")
            continue
        now = opened(observer, name, namespace)
        if now != last:
            last, changed_s = now, monotonic()
    return last


def policy(processes: Mapping[str, Mapping[str, Opened]], namespace: str = "/") -> str:
    """The policy file for processes, each with its nodes."""
    root = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(root, "enclaves")
    for process in sorted(processes):
        enclave = ElementTree.SubElement(enclaves, "enclave", path=f"{ENCLAVES}/{process}")
        profiles = ElementTree.SubElement(enclave, "profiles")
        for node, names in sorted(processes[process].items()):
            _add_profile(profiles, node, namespace, names)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add_profile(profiles: ElementTree.Element, node: str, namespace: str, names: Opened) -> None:
    profile = ElementTree.SubElement(profiles, "profile", ns=namespace, node=node)
    for group, item, right in _RIGHTS:
        listed: Iterable[str] = sorted(getattr(names, right))
        if listed:
            box = ElementTree.SubElement(profile, group, {right: "ALLOW"})
            for name in listed:
                ElementTree.SubElement(box, item).text = name


def read_policy(text: str) -> dict[str, dict[str, Opened]]:
    """Processes and nodes of a policy that `policy` wrote."""
    found: dict[str, dict[str, Opened]] = {}
    for enclave in ElementTree.fromstring(text).iter("enclave"):
        nodes = found.setdefault(enclave.attrib["path"].removeprefix(f"{ENCLAVES}/"), {})
        for profile in enclave.iter("profile"):
            nodes[profile.attrib["node"]] = Opened(
                **{right: _listed(profile, group, right) for group, _, right in _RIGHTS}
            )
    return found


def _listed(profile: ElementTree.Element, group: str, right: str) -> frozenset[str]:
    boxes = [box for box in profile.findall(group) if right in box.attrib]
    return frozenset(str(each.text) for box in boxes for each in box)


def main(names: Sequence[str] | None = None) -> int:
    """Print the policy of nodes, each a process of its own. names: by default those of the command line."""
    names = sys.argv[1:] if names is None else names
    rclpy.init()
    observer = rclpy.create_node("security_policy")
    spin = partial(rclpy.spin_once, observer, timeout_sec=0.1)
    try:
        print(policy({name: {name: settled(observer, name, spin)} for name in names}), end="")
    except MetaRLError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        observer.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
