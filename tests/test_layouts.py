# SPDX-License-Identifier: Apache-2.0
"""Layouts of Foxglove, PlotJuggler and RViz in share/: they name only topics that our nodes publish."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

pytest.importorskip("rclpy", reason="the interfaces need ROS 2's messages")

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.recorder import expected_topics

ROBOTS = {"arm": "panda", "quadrotor": "x500", "ground": "husky"}
MARKERS = "scene/markers"  # of the node scene, below its own name
SHARE = Path(__file__).resolve().parents[1] / "share"


def published(robot: Robot) -> dict[str, str]:
    """Types of the topics of a robot's nodes, with their names at the root."""
    known = {topic: kind for topic, (kind, _) in {**topics.RECORDED, **expected_topics(interface_of(robot))}.items()}
    known |= dict.fromkeys((topics.DESCRIPTION, topics.TF, MARKERS), "")
    return {"/" + topic.lstrip("/"): kind for topic, kind in known.items()}


def topic_of(path: str, known: dict[str, str]) -> str:
    """The topic of a field's path in a tool, such as /odom.pose or /odom/pose; the path itself if there is none."""
    fits = [topic for topic in known if re.match(re.escape(topic) + r"($|[./\[])", path)]
    return max(fits, key=len, default=path)


def strings(content: Any, keys: tuple[str, ...]) -> Iterator[str]:
    """The texts at some keys anywhere in nested lists and dictionaries."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from [value] if key in keys and isinstance(value, str) else strings(value, keys)
    elif isinstance(content, list):
        for item in content:
            yield from strings(item, keys)


def panels(layout: Any) -> Iterator[str]:
    """The panels in Foxglove's tree of splits."""
    if isinstance(layout, str):
        yield layout
    else:
        yield from (*panels(layout["first"]), *panels(layout["second"]))


def foxglove(kind: str) -> list[str]:
    content = json.loads((SHARE / "foxglove" / f"{kind}.json").read_text(encoding="utf-8"))
    assert sorted(panels(content["layout"])) == sorted(content["configById"])
    shown = content["configById"]["3D!scene"]["topics"]
    fields = strings(content["configById"], ("topicToRender", "topicPath", "diffTopicPath", "value"))
    return [*shown, *filter(None, fields)]


def plotjuggler(kind: str) -> list[str]:
    root = ElementTree.parse(SHARE / "plotjuggler" / f"{kind}.xml").getroot()
    return [str(curve.get("name")) for curve in root.iter("curve")]


def rviz(kind: str) -> list[str]:
    content = yaml.safe_load((SHARE / "rviz" / f"{kind}.rviz").read_text(encoding="utf-8"))
    return [text for text in strings(content, ("Value",)) if text.startswith("/")]


READERS = {"foxglove": foxglove, "plotjuggler": plotjuggler, "rviz": rviz}


@pytest.mark.parametrize("kind", ROBOTS)
@pytest.mark.parametrize("tool", READERS)
def test_every_topic_of_a_layout_is_one_of_our_nodes(tool: str, kind: str) -> None:
    robot = load_robot(ROBOTS[kind], check_model=False)
    known = published(robot)
    paths = READERS[tool](kind)
    assert len(paths) > 1
    assert [path for path in paths if topic_of(path, known) not in known] == []


@pytest.mark.parametrize("kind", ROBOTS)
def test_every_plotted_number_is_in_its_message(kind: str) -> None:
    known = published(load_robot(ROBOTS[kind], check_model=False))
    for path in foxglove(kind):
        topic = topic_of(path, known)
        if path != topic:
            package, _, name = known[topic].split("/")
            message = getattr(import_module(f"{package}.msg"), name)()
            for field in re.findall(r"\.([a-z_]+)", path[len(topic) :]):
                assert hasattr(message, field), path
                message = getattr(message, field)


@pytest.mark.parametrize("kind", ROBOTS)
def test_the_fixed_frame_is_the_robots(kind: str) -> None:
    robot = load_robot(ROBOTS[kind], check_model=False)
    content = yaml.safe_load((SHARE / "rviz" / f"{kind}.rviz").read_text(encoding="utf-8"))
    frame = content["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert frame == getattr(robot, "world_frame", robot.base_frame)
    layout = json.loads((SHARE / "foxglove" / f"{kind}.json").read_text(encoding="utf-8"))
    assert layout["configById"]["3D!scene"]["fixedFrame"] == frame


def test_a_topic_that_no_node_has_is_noticed() -> None:
    known = published(load_robot("x500", check_model=False))
    assert topic_of("/odom.pose.pose.position.x", known) == "/odom"
    assert topic_of("/mpc/step/data[0]", known) == "/mpc/step"
    assert topic_of("/odometry.pose", known) not in known and topic_of("/joint_states.position", known) not in known
