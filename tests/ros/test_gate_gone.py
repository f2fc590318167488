# SPDX-License-Identifier: Apache-2.0
"""The gate's process stands still or ends, in real time and in full motion: the plant stops the robot by itself, and
all say so.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot

pytestmark = pytest.mark.real_time
PANDA = load_robot("panda")
PATIENT = """
/gate:
  ros__parameters: {command_timeout_s: 0.3, state_timeout_s: 0.3}
"""  # a busy machine is late; the gate is to stop the robot because it stood still itself, not because of that


def stop_the_gate(session: object) -> None:
    """SIGSTOP for 1.5 s, longer than a stop may heal by itself, with the last hop at work; then SIGCONT.

    Of the gate's time, and of the plant's, which catches up on a busy machine.
    """
    probe, gate = session.probe, session.launch.process("gate")
    stopped_s, since_s = probe.time_s, monotonic()
    probe.clear()
    os.kill(gate.popen.pid, signal.SIGSTOP)
    try:
        probe.wait_until(stopped_s + 1.5)
        probe.wait(lambda: monotonic() > since_s + 1.5, "as much real time")
        probe.wait(lambda: "the fallback law stops" in message(probe, "plant"), "the plant's word")
    finally:
        os.kill(gate.popen.pid, signal.SIGCONT)


def kill_the_gate(session: object) -> None:
    session.expected.add("gate")
    victim = session.launch.process("gate").popen
    victim.send_signal(signal.SIGKILL)
    victim.wait()


def message(probe: object, node: str) -> str:
    status = probe.diagnostics.get(node)
    return "" if status is None or status.level != DiagnosticStatus.ERROR else status.message


def values(probe: object, *columns: str) -> np.ndarray:
    """(K, n) of the truth."""
    return np.array([[table.value(column) for column in columns] for table in list(probe.truth)])


def stands(probe: object) -> bool:
    """Whether an arm has stood for half a second."""
    return len(probe.truth) > 100 and bool(np.abs(values(probe, *SPEEDS)[-100:]).max() < 0.1)


@pytest.fixture
def begin(start: Callable, tmp_path: Path) -> Iterator[Callable]:
    """Starts a launch file with a patient gate; it is stopped after the test: no other one may take its cores."""
    sessions = []
    path = tmp_path / "patient.yaml"
    path.write_text(PATIENT)

    def begin(file: str, **arguments: str) -> object:
        sessions.append(start(file, params=str(path), **arguments))
        sessions[-1].probe.wait_state("passing")
        return sessions[-1]

    yield begin
    for session in sessions:
        session.launch.stop()


@pytest.fixture
def arm(begin: Callable) -> object:
    return begin("arm", robot="panda", controller="pid", reference="tracking", seed="3")


SPEEDS = tuple(f"{joint}/velocity_rad_s" for joint in PANDA.channel_names)


def test_an_arm_whose_gate_stands_still_stops_and_moves_again_only_when_it_is_rearmed(arm: object) -> None:
    probe = arm.probe
    probe.wait_until(1.0)
    probe.wait(lambda: np.abs(values(probe, *SPEEDS)[-1]).max() > 0.3, "motion")
    stop_the_gate(arm)
    probe.wait_state("holding", latched=True)
    assert np.all(np.abs(values(probe, *SPEEDS)) < PANDA.velocity_limit) and probe.count("plant", "violations") == 0
    assert "stood still" in probe.states[-1]["reason"]
    probe.wait(lambda: stands(probe), "standstill")
    probe.wait(lambda: probe.trigger("/gate/rearm").success, "it to be re-armed")
    probe.wait_state("passing")
    probe.wait(lambda: np.abs(values(probe, *SPEEDS)[-1]).max() > 0.1, "motion")


def test_an_arm_whose_gate_is_killed_stops_and_the_others_say_so(arm: object) -> None:
    probe = arm.probe
    probe.wait(lambda: np.abs(values(probe, *SPEEDS)[-1]).max() > 0.3, "motion")
    probe.clear()
    kill_the_gate(arm)
    probe.wait(lambda: "has the gate ended?" in message(probe, "plant"), "the plant's word")
    probe.wait(lambda: "has the gate ended?" in message(probe, "mpc"), "the controller's word")
    probe.wait(lambda: stands(probe), "standstill")
    assert np.all(np.abs(values(probe, *SPEEDS)) < PANDA.velocity_limit) and probe.count("plant", "violations") == 0


def test_a_quadrotor_whose_gate_stands_still_and_is_killed_on_the_way_down_lands(begin: Callable) -> None:
    session = begin("quad", controller="se3", reference="figure_eight")
    probe = session.probe
    probe.wait_until(3.0)
    stop_the_gate(session)
    probe.wait(lambda: "stood still" in probe.states[-1]["reason"], "the gate's word")
    assert probe.states[-1]["latched"] == "True"
    kill_the_gate(session)
    probe.wait(lambda: probe.truth[-1].value("position_z_m") < 0.2, "the ground")
    flight = values(probe, "position_z_m", "velocity_z_m_s", *(f"attitude_{part}" for part in "wxyz"))
    assert np.all(flight[:, 1] > -2.0) and np.all(rotation.tilt(flight[:, 2:]) < 1.0)
    landed_s = probe.time_s
    probe.wait_until(landed_s + 2.0)
    assert probe.truth[-1].value("position_z_m") < 0.2
    probe.wait(lambda: "has the gate ended?" in message(probe, "plant"), "the plant's word")
