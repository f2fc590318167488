# SPDX-License-Identifier: Apache-2.0
"""An estimated payload is given to the robot's driver, in real time.

The stand-in (tests/ros2_control/load_stand_in.py) is NOT a Franka or UR robot: our MuJoCo arm executes the efforts, to
which it adds gravity, of the load too that it has accepted by the drivers' real services.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import InertiaStamped  # noqa: E402
from std_msgs.msg import Bool, Float64  # noqa: E402

from metarl_robot.cli.launch_process import node_environment  # noqa: E402
from metarl_robot.core.errors import MetaRLError  # noqa: E402
from metarl_robot.ros_nodes import topics  # noqa: E402
from metarl_robot.ros_nodes.messages.provide import provide  # noqa: E402
from tests.ros2_control.running import ROBOT, Graph  # noqa: E402

try:
    for package in ("controller_manager_msgs", "franka_msgs", "ur_msgs"):
        provide(package)
except MetaRLError as error:
    pytest.skip(f"messages: {error}", allow_module_level=True)

CARRIED_KG = 0.8
ROUNDS = 8
HOLDING = "joint_trajectory_controller"
PARAMETERS = """
/**: {ros__parameters: {max_state_age_s: 2.0}}
/**/ros2_control_bridge: {ros__parameters: {deadline_s: 1.0}}
"""


class LoadGraph(Graph):
    """mpc, gate, bridge and payload_sharer as launched, beside the stand-in. said: by the sharer, in order."""

    stand_in = "load_stand_in"

    def __init__(self, start: Callable[..., Any], driver: str, params: str) -> None:
        super().__init__(
            start, driver, controller="meta_mpc", effort_includes_gravity="false", share_payload="true",
            payload_driver=driver, params=params,
        )  # fmt: skip
        self.said: list[str] = []
        self.stages: list[str] = []
        self.payloads: list[float] = []
        self.probe.listen(DiagnosticStatus, "payload_sharer/state", self._on_stage, topics.LATCHED)
        self.probe.listen(InertiaStamped, topics.report("payload"), lambda m: self.payloads.append(m.inertia.m))
        node = self.probe.node
        self._mass, self._refuse = (
            node.create_publisher(kind, f"stand_in/{name}", 1) for kind, name in ((Float64, "mass"), (Bool, "refuse"))
        )

    def _on_stage(self, message: DiagnosticStatus) -> None:
        self.said.append(message.message)
        self.stages.append(message.values[0].value)

    def carry(self, mass_kg: float) -> None:
        self.probe.wait(lambda: self._mass.get_subscription_count() > 0, "the stand-in")
        self._mass.publish(Float64(data=mass_kg))

    def refuse(self, refuses: bool) -> None:
        self.probe.wait(lambda: self._refuse.get_subscription_count() > 0, "the stand-in")
        self._refuse.publish(Bool(data=refuses))

    def learn(self, stage: str) -> None:
        """Move there and back, which shows the payload, and rest, until the sharer is at a stage."""
        away = ROBOT.home + np.array([0.6, -0.5])
        for _ in range(ROUNDS):
            for goal in 2 * [away, ROBOT.home]:
                self.move_to(goal, 1)
                self.probe.wait(lambda goal=goal: np.abs(self.arm.q - goal).max() < 0.01, f"the goal; {self.arm.now}")
            self.run(1.5)
            if self.stages[-1:] == [stage]:
                return
        pytest.fail(f"not {stage} after {ROUNDS} rounds: {self.said[-3:]}; {self.arm.now}")

    def wait_said(self, text: str, since: int = 0) -> None:
        self.probe.wait(
            lambda: any(text in words for words in self.said[since:]), f"'{text}'; {self.said[-3:]}; {self.arm.now}"
        )

    def share(self) -> Any:
        return self.probe.trigger("payload_sharer/share_payload")

    def ask(self) -> None:
        """Ask until the sharer asks the driver; an estimate that has become unsettled is learned again."""
        for _ in range(10 * ROUNDS):
            answer = self.share()
            if answer.success:
                return
            if "taking over" in answer.message or "being activated" in answer.message:
                self.run(0.3)
            else:
                held = self.phases[-1] == "held"
                if held:
                    self.engage()
                self.learn("settled")
                if held:
                    self.hold()
        pytest.fail(f"never asked: {answer.message}")

    def hold(self) -> None:
        assert self.probe.trigger(f"{self.bridge}/hold").success
        self.wait_phase("held")
        self.probe.wait(lambda: self.arm.active(HOLDING), "the holding controller")

    def resting(self) -> tuple[float, float, float]:
        """Joint angle from home [rad], largest effort sent [Nm], estimated mass [kg]: means over a second at rest."""
        begun, seen = len(self.arm.reports), len(self.payloads)
        self.run(1.0)
        reports = [report for report in self.arm.reports[begun:] if report["sent"]]
        off = np.mean([np.abs(np.array(report["q"]) - ROBOT.home).max() for report in reports])
        sent = np.mean([np.abs(report["sent"]).max() for report in reports])
        return float(off), float(sent), float(np.mean(self.payloads[seen:]))


@pytest.fixture
def graph(start: Callable, tmp_path: Any) -> Iterator[Callable[[str], LoadGraph]]:
    made: list[LoadGraph] = []
    (tmp_path / "busy.yaml").write_text(PARAMETERS)

    def make(driver: str) -> LoadGraph:
        made.append(LoadGraph(start, driver, str(tmp_path / "busy.yaml")))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.parametrize("driver", ["franka", "ur"])
def test_a_payload_is_shared_refused_and_taken_back(graph: Callable[[str], LoadGraph], driver: str) -> None:
    one = graph(driver)
    one.wait_words("is inactive")
    one.engage()
    one.carry(CARRIED_KG)
    one.learn("settled")
    alone = one.resting()
    assert not one.share().success and not one.arm.now["given"]  # our efforts act

    one.refuse(True)
    one.hold()
    one.ask()
    one.wait_said("refused:")
    one.probe.wait(lambda: one.arm.active(HOLDING), "the holding controller")
    assert not one.arm.now["given"] and one.arm.now["compensated_kg"] == 0.0

    one.refuse(False)
    one.ask()
    one.wait_said("accepted: ")
    one.probe.wait(lambda: one.arm.active(HOLDING), "the holding controller")
    one.run(0.2)
    assert abs(one.arm.now["compensated_kg"] - CARRIED_KG) < 0.5
    one.run(1.0)
    one.engage()
    one.learn("accepted")
    shared = one.resting()
    print(f"{driver}: off home [rad], sent [Nm], estimate [kg]: {alone} -> {shared}")
    assert shared[0] < alone[0] + 1e-3 and shared[1] < 0.75 * alone[1]
    assert shared[2] > 0.5 * CARRIED_KG, "the estimate is the whole payload, not what is left of it"

    one.carry(0.0)
    one.learn("settled")
    if driver == "franka":
        one.hold()
    one.ask()
    begun = len(one.arm.reports) - 1
    one.probe.wait(lambda: one.arm.now["compensated_kg"] == 0.0, "the driver to compensate nothing")
    one.run(1.0)
    went = one.arm.off_home(begun)
    print(f"{driver}: given {one.arm.now['given']}; off home when it was taken back: {went:.4f} rad")
    assert one.arm.now["given"][-1] == 0.0 and went < 0.05


def test_a_service_that_is_missing_is_named_and_waited_for(probe_alone: Callable[[], tuple[int, Any]]) -> None:
    from ur_msgs.srv import SetPayload

    domain, probe = probe_alone()
    words: list[str] = []
    probe.listen(DiagnosticStatus, "payload_sharer/state", lambda m: words.append(m.message), topics.LATCHED)
    arguments = ("robot:=planar2", "payload_driver:=ur", "effort_includes_gravity:=false")
    command = [sys.executable, "-m", "metarl_robot.ros_nodes.bridges.payload_sharer", "--ros-args"]
    command += [word for argument in arguments for word in ("-p", argument)]
    sharer = subprocess.Popen(command, env={**node_environment(), "ROS_DOMAIN_ID": str(domain)})
    try:
        missing = "/io_and_status_controller/set_payload"
        probe.wait(lambda: any(f"waiting for {missing}" in text for text in words), f"its name; {words}")
        answer = probe.trigger("payload_sharer/share_payload")
        assert not answer.success and f"no service {missing}" in answer.message
        probe.node.create_service(SetPayload, missing, lambda request, response: response)
        probe.wait(lambda: "waiting" not in words[-1], f"the service; {words}")
        answer = probe.trigger("payload_sharer/share_payload")
        assert not answer.success and "no estimate of while our efforts acted" in answer.message
    finally:
        sharer.send_signal(signal.SIGINT)
        assert sharer.wait(60) == 0
