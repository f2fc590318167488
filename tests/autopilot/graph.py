# SPDX-License-Identifier: Apache-2.0
"""mpc, gate and bridge as launched, and the stand-in autopilot in a process of its own; and what every bridge must pass
with them. In real time, or in lockstep (lockstep.py).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry

from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from tests.autopilot.process import Remote
from tests.autopilot.vehicle import HOLD, OFFBOARD, POSITION

ROBOT = load_robot("x500", check_model=False)
LOCKSTEP = """
launch:
- node: {{pkg: metarl_robot, exec: gate, name: gate, param: [{common}, {{name: grace_s, value: '120.0'}}]}}
- node: {{pkg: metarl_robot, exec: mpc, name: mpc, param: [{common}]}}
- node: {{pkg: metarl_robot, exec: {bridge}, name: {bridge}, param: [{common}, {own}]}}
"""


def lockstep_file(folder: Path, bridge: str, robot: str = "x500", **own: str) -> Path:
    """A launch file of mpc, gate and that bridge in lockstep. own: further parameters of the bridge."""

    def parameters(**values: str) -> str:
        return ", ".join(f"{{name: {name}, value: '{value}'}}" for name, value in values.items())

    file = folder / f"{bridge}.launch.yaml"
    common = parameters(robot=robot, lockstep="true", use_sim_time="true")
    file.write_text(LOCKSTEP.format(common=common, bridge=bridge, own=parameters(deadline_s="0.02", **own)))
    return file


class Graph:
    """node: name of the bridge. remote: arguments of the stand-in's process. file: to launch."""

    def __init__(
        self,
        start: Callable[..., Any],
        node: str,
        remote: tuple[str, ...],
        file: str | Path = "autopilot",
        **arguments: str,
    ) -> None:
        self.session = start(file, **arguments)
        self.probe, self._node = self.session.probe, node
        self.remote = Remote(*remote, env={**os.environ, "ROS_DOMAIN_ID": str(self.probe.domain)})
        self.places: dict[int, np.ndarray] = {}
        self.wanted: dict[int, np.ndarray] = {}
        self.phases: list[str] = []
        read = OdometryInterface(ROBOT).read_setpoint
        self.probe.listen(Odometry, "odom", lambda m: self.places.update([read(m)[:2]]))
        self.probe.listen(Odometry, topics.SETPOINT, lambda m: self.wanted.update([read(m)[:2]]))
        self.probe.listen(DiagnosticStatus, f"{node}/state", self._on_phase, topics.LATCHED)

    def _on_phase(self, message: DiagnosticStatus) -> None:
        self.phases.append(message.values[0].value)

    def wait_phase(self, phase: str) -> None:
        def reached() -> bool:
            self._rearm()
            return self.phases[-1:] == [phase]

        self.probe.wait(reached, f"phase {phase}; {self.phases}; {self.remote.now}")

    def _rearm(self) -> None:
        """As an operator: on a busy machine states are late, and the gate stops for good."""
        if self.probe.states and self.probe.states[-1]["latched"] == "True":
            self.probe.trigger("gate/rearm")

    def engage(self) -> None:
        """As an operator, who asks again where a busy machine ended it."""
        asked = -1

        def reached() -> bool:
            nonlocal asked
            self._rearm()
            if asked < 0 or self.phases[asked:][-1:] == ["handed_back"]:
                asked = len(self.phases)
                assert self.probe.trigger(f"{self._node}/engage").success
            return self.phases[-1] == "engaged" and self.remote.now["mode"] == OFFBOARD

        self.probe.wait(reached, "control")

    def fly(self, seconds: float) -> np.ndarray:
        """Position errors (N,) [m] of the states in that time of the vehicle's flight."""
        first_s = self.remote.now["time_s"]
        self.places.clear()
        self.probe.wait(lambda: self.remote.now["time_s"] > first_s + seconds, "flight")
        places, wanted = self.places.copy(), self.wanted.copy()
        return np.array([np.linalg.norm(q[:3] - wanted[at][:3]) for at, q in places.items() if at in wanted])

    def stop(self) -> None:
        self.session.launch.stop()
        self.remote.stop()


def check_hand_back(graph: Graph) -> None:
    """Hover; the pilot takes over and keeps control; told again, the bridge has it. Nobody has armed or failed.

    The hover is judged from the first moment of control on.
    """
    graph.wait_phase("streaming")
    graph.engage()
    assert "armed" not in graph.remote.now["log"]
    hover = graph.fly(3.0)
    graph.remote.tell(f"pilot {POSITION}")
    graph.wait_phase("handed_back")
    graph.probe.wait(lambda: graph.remote.now["time_s"] > graph.remote.now["last_s"] + 1.5, "silence")
    assert graph.remote.now["mode"] == POSITION and not graph.remote.now["failsafe"]
    assert graph.session.said("the autopilot changed to POSCTL")
    graph.engage()
    print(f"hover: largest error {100 * hover.max():.1f} cm")
    assert not any("failsafe" in line for line in graph.remote.now["log"]) and hover.max() < 0.05


def check_killed_solver(graph: Graph) -> None:
    """A solver that is killed ends the stream; the autopilot holds its place by its own failsafe."""
    graph.wait_phase("streaming")
    graph.engage()
    graph.fly(0.5)
    graph.session.expected.add("mpc")
    solver = next(process for process in graph.session.launch.processes if process.node == "mpc")
    os.kill(solver.popen.pid, signal.SIGKILL)
    graph.remote.tell("wait 0")
    graph.wait_phase("handed_back")
    graph.probe.wait(lambda: graph.remote.now["failsafe"], "the autopilot's failsafe")
    now = graph.remote.now
    assert now["mode"] == HOLD and now["log"][-1] == "AUTO.LOITER by failsafe"
    graph.probe.wait(lambda: graph.remote.now["time_s"] > now["time_s"] + 2.0, "two more seconds")
    last = graph.remote.now
    assert last["setpoints"] == now["setpoints"] and last["position"][2] > 0.5, (now, last)
