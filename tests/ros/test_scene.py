# SPDX-License-Identifier: Apache-2.0
"""Frames and markers over the real graph: they are those of MuJoCo at the state of the same stamp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
import pytest
from nav_msgs.msg import Odometry
from sensor_msgs.msg import JointState
from visualization_msgs.msg import Marker, MarkerArray

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.ros_nodes.geometry import wxyz, xyz
from metarl_robot.ros_nodes.messages.package import MessagesError
from metarl_robot.ros_nodes.messages.provide import provide


class Ears:
    """The newest frames, the states by stamp, and the newest markers by namespace."""

    def __init__(self, probe: Any, state_type: Any, state_topic: str, prefix: str = "") -> None:
        try:
            provide("tf2_msgs")
        except MessagesError as error:
            pytest.skip(f"tf2_msgs: {error}")
        from tf2_msgs.msg import TFMessage

        self.frames: dict[str, Any] = {}
        self.states: dict[int, Any] = {}
        self.markers: dict[str, Marker] = {}
        for topic, quality in ((topics.TF, topics.REPORT), (topics.TF_STATIC, topics.LATCHED)):
            probe.listen(TFMessage, topic, self._on_frames, quality)
        probe.listen(state_type, state_topic, lambda m: self.states.update({nanoseconds(m.header.stamp): m}))
        probe.listen(MarkerArray, f"{prefix}scene/markers", self._on_markers)

    def _on_frames(self, message: Any) -> None:
        self.frames |= {each.child_frame_id: each for each in message.transforms}

    def _on_markers(self, message: MarkerArray) -> None:
        self.markers |= {marker.ns: marker for marker in message.markers}

    def shows(self, *names: str) -> bool:
        return all(name in self.markers and self.markers[name].action == Marker.ADD for name in names)

    @property
    def stamp_ns(self) -> int:
        """Of the frames that move."""
        return max((nanoseconds(frame.header.stamp) for frame in self.frames.values()), default=0)

    def in_root(self, frame: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Position and attitude wxyz of a frame in the root of its tree, and the root's name."""
        place, turn = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        while frame in self.frames:
            found = self.frames[frame]
            attitude = wxyz(found.transform.rotation)
            place = xyz(found.transform.translation) + rotation.rotate(attitude, place)
            turn, frame = rotation.multiply(attitude, turn), found.header.frame_id
        return place, turn, frame


def test_links_of_an_arm_and_what_it_carries(start: Callable) -> None:
    robot = load_robot("panda")
    session = start("arm", scene="true", lockstep="true", payload_mass_kg="1.0", payload_attach_s="0.5")
    ears = Ears(session.probe, JointState, "joint_states")

    def carried_kg() -> float:
        return 2000.0 * np.pi / 6.0 * ears.markers["payload"].scale.x ** 3 if ears.shows("payload") else 0.0

    shown = ("plan", "reference", "payload", "estimates")
    session.probe.wait(lambda: ears.shows(*shown) and ears.stamp_ns > 0 and carried_kg() > 0.8, "markers")
    session.finish()
    model, data = robot.mj_model, mujoco.MjData(robot.mj_model)
    message = ears.states[ears.stamp_ns]
    data.qpos[:] = [message.position[list(message.name).index(name)] for name in robot.channel_names]
    mujoco.mj_kinematics(model, data)
    hand = model.site(model.nsite - 1).name
    place, turn, root = ears.in_root(hand)
    assert root == robot.base_frame and np.allclose(place, data.site(hand).xpos, atol=1e-9)
    assert np.allclose(rotation.to_matrix(turn).ravel(), data.site(hand).xmat, atol=1e-9)
    payload = ears.markers["payload"]
    assert payload.header.frame_id == root and np.abs(xyz(payload.pose.position) - place).max() < 0.2
    assert carried_kg() < 1.5  # the kilogram that it carries
    assert len(ears.markers["plan"].points) > 5 and "payload mass" in ears.markers["estimates"].text


def test_a_quadrotor_in_a_namespace(start: Callable) -> None:
    session = start("quad", scene="true", lockstep="true", namespace="left")
    ears = Ears(session.probe, Odometry, "left/odom", "left/")
    session.probe.wait(lambda: ears.shows("plan") and "left/base_link" in ears.frames, "markers")
    session.finish()
    base = ears.frames["left/base_link"]
    place, turn, root = ears.in_root("left/base_link")
    state = ears.states[nanoseconds(base.header.stamp)].pose.pose
    assert root == "left/odom" == ears.markers["plan"].header.frame_id
    assert np.allclose(place, xyz(state.position)) and np.allclose(turn, wxyz(state.orientation))
    assert ears.in_root(f"left/{load_robot('x500').mj_model.site(0).name}")[2] == root
