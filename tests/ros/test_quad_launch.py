# SPDX-License-Identifier: Apache-2.0
"""`quad.launch.yaml` with every controller: it starts, follows, meets a payload that nobody told it, and stays within
limits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import MultiDOFJointTrajectory

from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Plan
from metarl_robot.core.tables import Table, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.trajectories.flat_outputs import Outputs

ROBOT = load_robot("x500")
INTERFACE = OdometryInterface(ROBOT)
ATTACH_S = 2.0
MASS_KG = 0.2
ERROR_M = 0.15  # far above any controller's error without a payload, far below a broken loop's
LEARNED = "meta_mpc"
PATH = np.array([[2.0, -1.0, 2.5], [1.0, 0.0, 2.0], [0.0, 0.0, 2.0]])


class Followed:
    """A started quadrotor, with its setpoints and steps as they come."""

    def __init__(self, start: Callable, **arguments: str) -> None:
        self.session = start("quad", **{"lockstep": "true", "seed": "1", **arguments})
        self.probe = self.session.probe
        self.setpoints: dict[int, np.ndarray] = {}
        self.steps: list[Table] = []
        self.answers: list[dict[str, str]] = []
        self.probe.listen(Odometry, topics.SETPOINT, self._on_setpoint)
        self.probe.listen(Float64MultiArray, topics.STEP, lambda m: self.steps.append(table_of(m)))

    def _on_setpoint(self, message: Odometry) -> None:
        stamp_ns, q, _ = INTERFACE.read_setpoint(message)
        self.setpoints[stamp_ns] = q

    def on_answer(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        if values["topic"] == OdometryInterface.path_topic:
            self.answers.append(values)

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (K,) [s] and distances (K,) [m] of the truth from the reference."""
        wanted = sorted(self.setpoints.copy().items())
        stamps = np.array([stamp for stamp, _ in wanted]) * 1e-9
        truth = [table for table in list(self.probe.truth) if stamps[0] <= table.stamp_s <= stamps[-1]]
        times = np.array([table.stamp_s for table in truth])
        places = np.array([[table.value(f"position_{axis}_m") for axis in "xyz"] for table in truth])
        reference = np.stack([np.interp(times, stamps, [q[k] for _, q in wanted]) for k in range(3)], axis=1)
        return times, np.linalg.norm(places - reference, axis=1)

    def offer_path(self, times: np.ndarray) -> dict[str, str]:
        """Offer the last places of PATH at times [s]; returns the controller's answer."""
        q = np.concatenate([PATH[-len(times) :], np.tile([1.0, 0.0, 0.0, 0.0], (len(times), 1))], axis=1)
        path = INTERFACE.plan(0, Plan(times, q, np.zeros((len(times), 6)), np.zeros((0, 4))))
        count = len(self.answers)
        self.paths.publish(path)
        self.probe.wait(lambda: len(self.answers) > count, "the answer to a path")
        return self.answers[count]

    def place(self) -> np.ndarray:
        return np.array([self.probe.truth[-1].value(f"position_{axis}_m") for axis in "xyz"])


@pytest.mark.parametrize("controller", ["se3", LEARNED])
def test_it_follows_and_meets_the_payload(start: Callable, controller: str) -> None:
    """A cascade, and an MPC that learns; test_swapping.py flies every controller."""
    checkpoint = str(ROBOT.folder / "dynamics.safetensors") if controller == LEARNED else ""
    payload = {"payload_mass_kg": str(MASS_KG), "payload_attach_s": str(ATTACH_S)}
    flight = Followed(start, controller=controller, checkpoint=checkpoint, **payload)
    probe = flight.probe
    probe.wait_until(ATTACH_S + 2.5)
    assert flight.session.launch.poll() and probe.states[-1]["state"] == "passing"
    times, error = flight.errors()
    before, after = error[(times > 1.0) & (times < ATTACH_S)], error[times > ATTACH_S + 1.5]
    assert len(before) > 80 and len(after) > 80
    assert before.max() < ERROR_M
    assert after.max() < 2 * ERROR_M
    assert {table.value("status") for table in flight.steps} == {0.0}
    last = probe.truth[-1]
    assert last.value("payload_mass_kg") == MASS_KG and last.value("violations") == 0.0 and last.value("crashed") == 0.0
    thrusts = np.array([table.values[0] for table in list(probe.commands)])
    assert np.all((thrusts >= ROBOT.effort_lower) & (thrusts <= ROBOT.effort_limit))
    assert not any(
        probe.count(node, f"state_{why}") for node in ("mpc", "gate") for why in ("frame", "not_finite", "stamp_jumped")
    )
    flight.session.finish()


@pytest.mark.parametrize("robot", ["hummingbird", "crazyflie"])
def test_quadrotors_of_other_sizes_fly_too(start: Callable, robot: str) -> None:
    flight = Followed(start, robot=robot, controller="se3", suite="heldout", scenario="wind_4", reference="suite")
    flight.probe.wait_until(4.0)
    times, error = flight.errors()
    assert error[times > 2.0].max() < 3 * ERROR_M and flight.probe.truth[-1].value("crashed") == 0.0
    wind = [flight.probe.truth[-1].value(f"wind_{axis}_m_s") for axis in "xyz"]
    assert np.linalg.norm(wind) > 1.0
    flight.session.finish()


@pytest.fixture(scope="module")
def hovering(start: Callable) -> Followed:
    """Driven by the test: it holds where it is until told otherwise."""
    flight = Followed(start, controller="se3", reference="none")
    flight.probe.wait_state("passing")
    flight.out = flight.probe.node.create_publisher(
        MultiDOFJointTrajectory, OdometryInterface.reference_topic, topics.REFERENCE_QOS
    )
    flight.probe.listen(DiagnosticStatus, topics.REFERENCE_STATUS, flight.on_answer, topics.EVENTS)
    flight.paths = flight.probe.node.create_publisher(PathMessage, OdometryInterface.path_topic, topics.REFERENCE_QOS)
    flight.probe.wait(
        lambda: flight.out.get_subscription_count() > 0 and flight.paths.get_subscription_count() > 0, "the controller"
    )
    return flight


def test_without_a_reference_it_hovers_where_it_is(hovering: Followed) -> None:
    hovering.probe.wait_until(1.5)
    assert np.abs(hovering.place() - ROBOT.home[:3]).max() < 0.05


def test_a_reference_that_jumps_is_followed_within_limits(hovering: Followed) -> None:
    probe = hovering.probe
    probe.clear()
    probe.wait_until(0.0)
    goal = np.array([[2.0, -1.0, 2.5, 0.5]])
    hovering.out.publish(INTERFACE.reference(0, np.array([6.0]), Outputs(goal, np.zeros((1, 4)), np.zeros((1, 4)))))
    probe.wait(lambda: np.abs(hovering.place() - goal[0, :3]).max() < 0.05, "the goal")
    truth = list(probe.truth)
    speed = np.linalg.norm([[table.value(f"velocity_{axis}_m_s") for axis in "xyz"] for table in truth], axis=1)
    assert 0.5 < speed.max() < 3.0 and probe.truth[-1].value("violations") == 0.0
    steps = np.diff([hovering.setpoints[stamp][:3] for stamp in sorted(hovering.setpoints)], axis=0)
    assert np.abs(steps).max() < 0.1  # m: where it shall be moves, and does not jump


def test_a_path_is_followed(hovering: Followed) -> None:
    """In lockstep the nodes' time runs far ahead of the messages received here: the path begins by the node's time."""
    probe = hovering.probe
    now_s = float(hovering.offer_path(np.array([0.0, 1.0]))["time_s"])  # refused: it ended long ago
    answer = hovering.offer_path(now_s + np.array([5.0, 7.0, 10.0]))
    assert answer["accepted"] == "True", answer["reason"]
    probe.wait_until(float(answer["ends_s"]) + 2.0)
    assert np.abs(hovering.place() - PATH[-1]).max() < 0.1


@pytest.mark.parametrize("what", ["frame", "far", "nan"])
def test_references_that_cannot_be_flown_are_refused_by_name_and_the_old_one_kept(
    hovering: Followed, what: str
) -> None:
    probe, before = hovering.probe, hovering.place()
    goal = np.array(
        [[0.0, 0.0, 2.0, 0.0], [0.0, 60.0 if what == "far" else np.nan if what == "nan" else 0.0, 2.0, 0.0]]
    )
    message = INTERFACE.reference(0, np.array([0.1, 1.0]), Outputs(goal, None, None))
    if what == "frame":
        message.header.frame_id = "map"
    count, said = probe.count("mpc", "references_refused"), len(hovering.session.lines)
    hovering.out.publish(message)
    probe.wait_count("mpc", "references_refused", count + 1)
    why = {"frame": "frame_id is 'map'; must be 'odom'", "far": "allows", "nan": "not finite"}[what]
    probe.wait(
        lambda: any("reference refused" in line and why in line for line in hovering.session.lines[said:]), "the reason"
    )
    probe.wait_until(probe.time_s + 0.5)
    assert np.abs(hovering.place() - before).max() < 0.05


def test_a_new_controller_takes_over_in_flight(hovering: Followed) -> None:
    probe = hovering.probe
    assert probe.set_parameter("mpc", "controller", "nominal_mpc").successful
    probe.wait(lambda: hovering.session.said("nominal_mpc has taken over"), "the new controller")
    assert not probe.set_parameter("mpc", "controller", "computed_torque").successful  # an arm's
    now_s, before = probe.time_s, hovering.place()
    probe.wait_until(now_s + 1.5)
    assert np.abs(hovering.place() - before).max() < 0.1 and probe.states[-1]["state"] == "passing"


def test_emergency_stop_lands_and_after_rearming_it_takes_off_again(hovering: Followed) -> None:
    probe = hovering.probe
    probe.clear()
    pause = partial(probe.call, SetBool, "/plant/set_pause")
    assert pause(SetBool.Request(data=True)).success  # on a busy machine it may land before the second request
    assert probe.trigger("/gate/estop").success
    answer = probe.trigger("/gate/rearm")
    assert not answer.success and "not re-armed" in answer.message  # it is in the air
    assert pause(SetBool.Request(data=False)).success
    probe.wait_state("holding", latched=True)
    # they stay so; a search through all commands at each look would take the processor from the probe's own thread
    probe.wait(lambda: bool(probe.commands) and np.all(probe.commands[-1].values == 0.0), "the motors to stop")
    stopped_s = next(table.stamp_s for table in probe.commands if np.all(table.values == 0.0))
    probe.wait_until(stopped_s)  # messages of different topics may overtake each other
    place = next(table for table in probe.truth if table.stamp_s >= stopped_s)
    assert place.value("position_z_m") < 0.2
    answer = probe.trigger("/gate/rearm")
    assert answer.success, answer.message
    probe.wait_state("passing", latched=False)
    goal = np.array([[*hovering.place()[:2], 1.5, 0.0]])
    hovering.out.publish(INTERFACE.reference(0, np.array([4.0]), Outputs(goal, np.zeros((1, 4)), np.zeros((1, 4)))))
    probe.wait(lambda: abs(hovering.place()[2] - 1.5) < 0.1, "the air")
    hovering.session.finish()
