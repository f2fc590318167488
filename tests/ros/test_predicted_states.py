# SPDX-License-Identifier: Apache-2.0
"""Odometry messages that are slow or late reach the nodes as present states, by the IMU; others as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.imu_mounting import ImuMounting
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.core.tables import table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError
from metarl_robot.ros_nodes.frames import frames_of
from metarl_robot.ros_nodes.interface import DEFAULT, header_stamp
from metarl_robot.ros_nodes.odometry import IMU, OdometryAndImu, imu_message, odometry_message
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.safety.input_validation import StateValidation

X500 = load_robot("x500")
FRAMES = frames_of(X500, DEFAULT)
UP = np.array([0.0, 0.0, 9.81])


class Ears:
    """States as a node would take them: stamps [ns] and states, or the reasons for none."""

    def __init__(self, lockstep: bool = False) -> None:
        self.heard: list[tuple[int, State | str]] = []
        self.said: list[str] = []
        self._both = OdometryAndImu(FRAMES, ImuMounting(), header_stamp, self._on_state, lockstep)
        if not lockstep:
            self._both.predictor, self._both.say = OdometryInterface(X500).predictor(), self.said.append

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        try:
            self.heard.append((stamp_ns, read()))
        except UnusableError as error:
            self.heard.append((stamp_ns, str(error)))

    def run(self, periods: int, late: int, count: int = 600, frame: str = FRAMES.world.name) -> None:
        """An IMU at 200 Hz and odometry every few of its periods, late by some; the quadrotor rises at 0.1 m/s."""
        for k in range(count):
            self._both.take_imu(imu_message(FRAMES.imu.name, 5_000_000 * k, Inertial(UP, np.zeros(3))))
            if k % periods == 0 and k >= late:
                stamp = 5_000_000 * (k - late)
                q = np.array([0.0, 0.0, 1e-10 * stamp, 1.0, 0.0, 0.0, 0.0])
                message = odometry_message(frame, FRAMES.base.name, stamp, q, np.array([0.0, 0.0, 0.1, 0, 0, 0]))
                self._both.take_odometry(message)


@pytest.mark.parametrize(("periods", "late", "words"), [(10, 0, "at 20 Hz"), (4, 20, "100 ms late")])
def test_slow_and_late_odometry_arrives_at_the_control_rate_without_age(periods: int, late: int, words: str) -> None:
    ears, intake = Ears(), StateValidation(X500)
    ears.run(periods, late)
    stamps = [stamp for stamp, _ in ears.heard]
    assert stamps == sorted(set(stamps)) and stamps[-300:] == [5_000_000 * k for k in range(300, 600)]
    assert len(ears.said) == 1 and words in ears.said[0]
    last = ears.heard[-1][1]
    assert isinstance(last, State) and last.q[2] == pytest.approx(1e-10 * stamps[-1], abs=1e-3)
    assert all(intake.offer(state, 1e-9 * stamp, 1e-9 * stamp) is None for stamp, state in ears.heard[-300:])


def test_fast_odometry_and_lockstep_stay_as_they_are() -> None:
    fast, step = Ears(), Ears(lockstep=True)
    fast.run(2, 0)
    assert [stamp for stamp, _ in fast.heard] == [10_000_000 * k for k in range(300)] and not fast.said
    step.run(10, 0)
    assert [stamp for stamp, _ in step.heard] == [50_000_000 * k for k in range(60)]


def test_odometry_in_a_wrong_frame_is_not_predicted_and_keeps_its_reason() -> None:
    ears = Ears()
    ears.run(10, 0, frame="map")
    assert len(ears.heard) == 60 and all("set world_frame:=map" in str(reason) for _, reason in ears.heard)


LAUNCH = """launch:
- node:
    pkg: metarl_robot
    exec: mpc
    name: mpc
    param:
    - {name: robot, value: x500}
    - {name: controller, value: se3}
"""


def test_a_node_in_real_time_answers_states_of_now_where_odometry_is_150_ms_late(
    start: Callable, tmp_path: Path
) -> None:
    """The odometry itself is refused: max_state_age_s is 0.1."""
    path = tmp_path / "mpc.launch.yaml"
    path.write_text(LAUNCH, encoding="utf-8")
    session, rng, ages = start(path), np.random.default_rng(0), []
    probe, now_ns = session.probe, lambda: session.probe.node.get_clock().now().nanoseconds
    odometry = probe.node.create_publisher(Odometry, OdometryInterface.state_topic, topics.STATE_OUT)
    imu = probe.node.create_publisher(Imu, IMU, topics.STATE_OUT)

    def measure() -> None:
        imu.publish(imu_message(FRAMES.imu.name, now_ns(), Inertial(UP, np.zeros(3))))
        q = np.array([*1e-3 * rng.standard_normal(2), 1.0, 1.0, 0.0, 0.0, 0.0])
        message = odometry_message(FRAMES.world.name, FRAMES.base.name, now_ns() - 150_000_000, q, np.zeros(6))
        odometry.publish(message)

    timer = probe.node.create_timer(0.01, measure)
    probe.listen(Float64MultiArray, topics.GATE_COMMAND, lambda m: ages.append(now_ns() - table_of(m).stamp_ns))
    probe.wait(lambda: len(ages) > 100, "commands")
    probe.wait(lambda: session.said("late: present states are predicted"), "the node's words")
    assert np.median(ages) < 75_000_000
    timer.cancel()
