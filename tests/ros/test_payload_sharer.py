# SPDX-License-Identifier: Apache-2.0
"""An estimated payload is given to the robot's driver: the node, the drivers' real services, and the whole graph.

The stand-in (tests/ros2_control/load_stand_in.py) is NOT a Franka or UR robot: our MuJoCo arm executes the efforts, to
which it adds gravity, of the load too that it has accepted by the drivers' real services. The quick tests publish the
estimates; in the whole graph mpc learns them in real time, which a busy machine disturbs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue  # noqa: E402
from geometry_msgs.msg import InertiaStamped  # noqa: E402
from std_msgs.msg import Bool, Float64, Float64MultiArray  # noqa: E402

from metarl_robot.cli.launch_process import node_environment  # noqa: E402
from metarl_robot.core.errors import MetaRLError  # noqa: E402
from metarl_robot.core.tables import Table  # noqa: E402
from metarl_robot.robots.arm.controller_switch import Phase  # noqa: E402
from metarl_robot.robots.payload import PAYLOAD_NAMES  # noqa: E402
from metarl_robot.ros_nodes import topics  # noqa: E402
from metarl_robot.ros_nodes.convert import table_message  # noqa: E402
from metarl_robot.ros_nodes.messages.provide import provide  # noqa: E402
from tests.ros2_control.running import ROBOT, Graph, StandIn  # noqa: E402

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


@pytest.mark.skipif(
    os.environ.get("METARL_QUIET_MACHINE") != "1",
    reason="judges estimates in real time, two minutes: set METARL_QUIET_MACHINE=1 on a machine with no other load",
)
@pytest.mark.slow
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


class Sharer:
    """The node alone, in a domain with a probe that publishes estimates at 50 Hz and the bridge's state."""

    def __init__(self, domain: int, probe: Any, driver: str) -> None:
        self.probe, self.words, self.stages, self.loads = probe, [""], [""], [0.0]
        self._mass_kg: float | None = None
        probe.listen(DiagnosticStatus, "payload_sharer/state", self._on_state, topics.LATCHED)
        load = "payload_sharer/load"
        probe.listen(InertiaStamped, load, lambda m: self.loads.append(m.inertia.m), topics.LATCHED)
        self._context = probe.node.create_publisher(Float64MultiArray, topics.CONTEXT, 1)
        self._bridge = probe.node.create_publisher(DiagnosticStatus, "ros2_control_bridge/state", topics.LATCHED)
        probe.node.create_timer(0.02, self._publish)
        arguments = ("robot:=planar2", f"payload_driver:={driver}", "effort_includes_gravity:=false")
        command = [sys.executable, "-m", "metarl_robot.ros_nodes.bridges.payload_sharer", "--ros-args"]
        command += [word for argument in (*arguments, "transition_s:=0.5") for word in ("-p", argument)]
        self._process = subprocess.Popen(command, env={**node_environment(), "ROS_DOMAIN_ID": str(domain)})

    def _on_state(self, message: DiagnosticStatus) -> None:
        self.words.append(message.message)
        self.stages.append(message.values[0].value)

    def _publish(self) -> None:
        if self._mass_kg is not None:
            mean = np.zeros(len(PAYLOAD_NAMES))
            mean[:2] = self._mass_kg, 0.03 * self._mass_kg
            mean[4:7] = 0.002 * self._mass_kg
            rows = np.stack([mean, np.full(len(mean), 0.02)])
            self._context.publish(table_message(Table(1, ("mean", "std"), PAYLOAD_NAMES, rows)))

    def estimate(self, mass_kg: float) -> None:
        self._mass_kg = mass_kg

    def phase(self, phase: Phase) -> None:
        values = {"phase": phase.value, "sends": str(phase is Phase.ENGAGED)}
        self._bridge.publish(DiagnosticStatus(values=[KeyValue(key=key, value=word) for key, word in values.items()]))

    def ask(self) -> Any:
        return self.probe.trigger("payload_sharer/share_payload")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        self.probe.wait(condition, f"{what}; {self.words[-3:]}, {self.stages[-3:]}, {self.loads[-3:]}")

    def wait_stage(self, stage: str) -> None:
        self.wait(lambda: self.stages[-1] == stage, stage)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(60) == 0


@pytest.fixture
def sharer(probe_alone: Callable[[], tuple[int, Any]]) -> Iterator[Callable[[str], Sharer]]:
    made: list[Sharer] = []

    def make(driver: str) -> Sharer:
        made.append(Sharer(*probe_alone(), driver))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def arm() -> Iterator[Callable[[Sharer, str], StandIn]]:
    made: list[StandIn] = []

    def make(beside: Sharer, driver: str) -> StandIn:
        made.append(StandIn("load_stand_in", beside.probe.domain, driver))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["franka", "ur"])
def test_a_driver_takes_refuses_and_gives_back_a_settled_payload(
    sharer: Callable[[str], Sharer], arm: Callable[[Sharer, str], StandIn], driver: str
) -> None:
    one = sharer(driver)
    robot = arm(one, driver)
    refuse = one.probe.node.create_publisher(Bool, "stand_in/refuse", topics.LATCHED)
    one.phase(Phase.ENGAGED)
    one.estimate(CARRIED_KG)
    one.wait_stage("settled")
    one.wait(lambda: "waiting" not in one.words[-1] and robot.reports != [], "the services")
    answer = one.ask()
    assert not answer.success and "our efforts act" in answer.message and not robot.now["given"]

    one.phase(Phase.HELD)
    one.wait(lambda: "our efforts act" not in one.words[-1], "the bridge's phase")
    one.probe.wait(lambda: refuse.get_subscription_count() > 0, "the stand-in")
    refuse.publish(Bool(data=True))
    one.wait(lambda: one.ask().success, "a request")
    one.wait(lambda: "refused: " in one.words[-1], "the refusal")
    one.wait(lambda: robot.active(HOLDING), "the holding controller")
    assert not robot.now["given"] and one.loads[-1] == 0.0

    refuse.publish(Bool(data=False))
    one.wait(lambda: one.ask().success, "a second request")
    one.wait_stage("accepted")
    one.wait(lambda: robot.now["given"] == [pytest.approx(CARRIED_KG, abs=2e-3)], "the load at the driver")
    one.wait(lambda: one.loads[-1] == pytest.approx(CARRIED_KG, abs=1e-3), "the load that mpc is told")
    one.wait(lambda: robot.active(HOLDING), "the holding controller")

    one.estimate(0.0)
    one.phase(Phase.ENGAGED)
    one.wait_stage("settled")
    one.phase(Phase.HELD)
    one.wait(lambda: one.ask().success, "a request to take nothing")
    one.wait(lambda: one.loads[-1] == 0.0 and robot.now["given"][-1] == 0.0, "a driver that compensates nothing")


def test_a_service_that_is_missing_is_named_and_waited_for(sharer: Callable[[str], Sharer]) -> None:
    from ur_msgs.srv import SetPayload

    one, missing = sharer("ur"), "/io_and_status_controller/set_payload"
    one.wait(lambda: f"waiting for {missing}" in one.words[-1], "its name")
    answer = one.ask()
    assert not answer.success and f"no service {missing}" in answer.message
    one.probe.node.create_service(SetPayload, missing, lambda request, response: response)
    one.wait(lambda: "waiting" not in one.words[-1], "the service")
    answer = one.ask()
    assert not answer.success and "no estimate of while our efforts acted" in answer.message
