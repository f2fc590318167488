# SPDX-License-Identifier: Apache-2.0
"""A stand-in's process and the nodes beside it, for tests of the bridges to ros2_control."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics

ROBOT = load_robot("planar2", check_model=False)


class StandIn:
    """The process of a stand-in, a module. reports: its states, in order."""

    def __init__(self, module: str, domain: int, interface: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.ros2_control.{module}", ROBOT.name, interface],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        )  # fmt: skip
        self.reports: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.reports.append(json.loads(line))

    @property
    def now(self) -> dict[str, Any]:
        return self.reports[-1] if self.reports else {"states": {}}

    @property
    def q(self) -> np.ndarray:
        return np.array(self.now["q"])

    def active(self, name: str) -> bool:
        return bool(self.now["states"].get(name) == "active")

    def off_home(self, since: int) -> float:
        """Largest joint angle from home in the reports since one [rad]."""
        return float(np.abs(np.array([report["q"] for report in self.reports[since:]]) - ROBOT.home).max())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()


class Graph:
    """mpc, gate and bridge as launched, beside the stand-in. phases, words: of the bridge, in order."""

    bridge, stand_in = "ros2_control_bridge", "stand_in"

    def __init__(self, start: Callable[..., Any], interface: str = "effort", **arguments: str) -> None:
        arguments = {"controller": "computed_torque", **arguments}
        self.session = start("ros2_control", robot=ROBOT.name, **arguments)
        self.probe = self.session.probe
        self.arm = StandIn(self.stand_in, self.probe.domain, interface)
        self.words: list[str] = []
        self.phases: list[str] = []
        self.probe.listen(DiagnosticStatus, f"{self.bridge}/state", self._on_state, topics.LATCHED)

    def _on_state(self, message: DiagnosticStatus) -> None:
        self.words.append(message.message)
        self.phases.append(message.values[0].value)

    def wait_phase(self, phase: str) -> None:
        self.probe.wait(lambda: self.phases[-1:] == [phase], f"phase {phase}; {self.words[-3:]}; {self.arm.now}")

    def wait_words(self, text: str) -> None:
        self.probe.wait(lambda: any(text in words for words in self.words), f"'{text}'; {self.words[-3:]}")

    def engage(self) -> None:
        self.probe.wait_state("passing")
        assert self.probe.trigger(f"{self.bridge}/engage").success
        self.wait_phase("engaged")

    def run(self, seconds: float) -> None:
        until_s = self.arm.now["time_s"] + seconds
        self.probe.wait(lambda: self.arm.now["time_s"] > until_s, "time to pass")

    def move_to(self, q: np.ndarray, seconds: int = 2) -> None:
        """Send a trajectory to a place at rest."""
        publisher = self.probe.node.create_publisher(JointTrajectory, "mpc/joint_trajectory", topics.REFERENCE_QOS)
        self.probe.wait(lambda: publisher.get_subscription_count() > 0, "a subscriber of references")
        point = JointTrajectoryPoint(positions=q.tolist())
        point.time_from_start.sec = seconds
        publisher.publish(JointTrajectory(joint_names=list(ROBOT.channel_names), points=[point]))

    def stop(self) -> None:
        self.session.launch.stop()
        self.arm.stop()
