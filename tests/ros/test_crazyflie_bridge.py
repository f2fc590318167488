# SPDX-License-Identifier: Apache-2.0
"""The Crazyflie bridge and a stand-in firmware: the real cflib on our side, over real UDP on this machine.

The stand-in (tests/crazyflie/) is NOT the firmware: it flies our MuJoCo plant by the firmware's rules and speaks CRTP.
First the link alone, in simulated time; then the whole graph mpc → gate → crazyflie_bridge → stand-in, in lockstep.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cflib", reason="needs the extra [crazyflie]")

from cflib.crtp.crtpstack import CRTPPort
from cflib.utils.encoding import decompress_quaternion

from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.autopilot.commander import Settings
from metarl_robot.robots.quadrotor.autopilot.motion import Motion
from metarl_robot.robots.quadrotor.autopilot.offboard import Phase, Request
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.ros_nodes.bridges.crazyflie_link import CrazyflieLink, Options
from metarl_robot.ros_nodes.bridges.crazyflie_parameters import FULL_STATE_LOOP_S, RATE_LOOP_S
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind
from tests.autopilot import loop as checks
from tests.autopilot.graph import Graph, lockstep_file
from tests.autopilot.loop import OWN_HOLD_S, Delivery, Later, Loop
from tests.autopilot.vehicle import STEP_S
from tests.crazyflie.crtp_stand_in import CrtpStandIn
from tests.crazyflie.firmware import ANGLE, MELLINGER, RATE, Firmware

ROBOT = load_robot("crazyflie", check_model=False)
USUAL = Options()
FULL_STATE = Options(full_m_s2=float(ROBOT.effort_limit.sum()) / ROBOT.mass_kg)
FORMS = pytest.mark.parametrize("options", [USUAL, FULL_STATE], ids=["rates", "full_state"])
HALF_PERIOD_S = 0.005
LOG_STEPS = 2  # 10 ms
ALOFT = np.array([0.0, 0.0, 1.0])


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        return int(port.getsockname()[1])


class CountingLink(CrazyflieLink):
    """The link, which counts the packets that all its callbacks have seen."""

    taken = given = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._cf.packet_sent.add_callback(self._gave)

    def count(self) -> None:
        """From now on."""
        self._cf.add_header_callback(self._took, 0, 0, 0x00, 0x00)

    def _took(self, packet: Any) -> None:
        self.taken += 1

    def _gave(self, packet: Any) -> None:
        self.given += 1


@pytest.fixture
def loop() -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(vehicle: Firmware | None = None, options: Options = USUAL, arm: bool = False, **stand_in: Any) -> Loop:
        port, flown = free_port(), vehicle or Firmware()
        form = (
            Settings(0.0, FULL_STATE_LOOP_S, lead_s=HALF_PERIOD_S) if options.full_state else Settings(0.0, RATE_LOOP_S)
        )
        one = Loop(
            flown,
            lambda listener, clock: CountingLink(f"udp://127.0.0.1:{port}", options, listener, clock),
            lambda: CrtpStandIn(flown, port, **stand_in),
            period_steps=LOG_STEPS,
            deliveries=deliveries,
            settings=form._replace(auto_arm=arm),
        )
        made.append(one)
        connect(one)
        return one

    yield make
    for one in made:
        one.link.close()
        one.stand_in.close()


def connect(loop: Loop) -> None:
    """The exchange of a connection, in real time."""
    loop.link.count()
    loop.link.tick(False)
    end_s = monotonic() + 60.0
    while not loop.link.connected and "update" not in str(loop.link.problems()) and monotonic() < end_s:
        loop.stand_in.receive()
        sleep(0.0002)


def deliveries(loop: Loop) -> tuple[Delivery, Delivery]:
    return (
        Delivery(lambda: loop.stand_in.sent, lambda: loop.link.taken),
        Delivery(lambda: loop.link.given, lambda: loop.stand_in.received),
    )


def test_states_and_imu_arrive_in_our_frames_with_the_time_of_their_measurement(loop: Callable[..., Loop]) -> None:
    flight = loop(Firmware(q=checks.POSE))
    flight.sees = False
    flight.run(0.5)
    checks.check_states(flight, 20, 2e-3)
    checks.check_inertials(flight, 20)


def take_off(loop: Loop) -> None:
    """As an app on board does; the bridge has met the Crazyflie on the ground."""
    loop.run(0.3)
    loop.vehicle.take_off(float(ALOFT[2]), 1.0)
    loop.reference = Hover(ALOFT)
    loop.run(1.5)
    assert loop.commander.offboard.phase is Phase.STREAMING


def thrust_sent(loop: Loop) -> bool:
    """Whether a setpoint with thrust has been sent."""
    return len(loop.vehicle.received_s) > loop.stand_in.commands.count("thrust 0")


@pytest.mark.parametrize("axis", range(3))
def test_rates_have_our_signs(loop: Callable[..., Loop], axis: int) -> None:
    """A rate about each body axis (FLU) turns the vehicle about this axis, by the firmware's legacy signs."""
    flight = loop()
    take_off(flight)
    flight.sees = False
    flight.link.ask(Request.MODE)
    flight.run(0.05)
    rates = np.zeros(3)
    rates[axis] = 1.0
    turned = np.zeros(3)
    for _ in range(30):
        flight.link.send(RateSetpoint(0.7, rates))
        flight.step()
        turned += STEP_S * flight.vehicle.state.v[3:]
    others = np.delete(turned, axis)
    assert turned[axis] > 0.03 and (np.abs(others) < 0.3 * turned[axis]).all()


def test_nothing_but_the_thrust_lock_is_touched_before_control_is_taken(loop: Callable[..., Loop]) -> None:
    flight = loop()
    flight.run(2.0)
    assert flight.commander.offboard.phase is Phase.STREAMING
    assert flight.stand_in.commands == ["thrust 0"] and flight.vehicle.parameters["flightmode.stabModeRoll"] == ANGLE
    assert not flight.vehicle.locked_thrust and flight.vehicle.state.q[2] < 0.02
    flight.engage()
    flight.run(0.2)
    assert thrust_sent(flight) and flight.vehicle.parameters["flightmode.stabModePitch"] == RATE
    assert "arm" not in flight.stand_in.commands


def test_a_crazyflie_that_must_be_armed_is_armed_only_when_told(loop: Callable[..., Loop]) -> None:
    flight = loop(Firmware(auto_arms=False))
    flight.commander.offboard.engage()
    flight.run(3.0)
    assert flight.commander.offboard.phase is Phase.STREAMING and flight.vehicle.state.q[2] < 0.02
    assert "arm" not in flight.stand_in.commands and not flight.vehicle.armed
    assert flight.link.arm(True)
    flight.run(0.5)
    assert flight.vehicle.armed and flight.commander.offboard.phase is Phase.ENGAGED


@pytest.mark.parametrize("protocol", [12, 10], ids=["2025", "before"])
def test_auto_arm_takes_control_and_arms(loop: Callable[..., Loop], protocol: int) -> None:
    flight = loop(Firmware(auto_arms=False), arm=True, protocol=protocol)
    flight.reference = Hover(np.array([0.0, 0.0, 0.3]))
    flight.run(2.0)
    assert flight.stand_in.commands.count("arm") == 1 and flight.vehicle.log[0] == "low-level setpoints end"
    assert flight.commander.offboard.phase is Phase.ENGAGED and flight.vehicle.flying


def test_full_states_arrive_with_our_frames_and_units(loop: Callable[..., Loop]) -> None:
    """Random motions, packed by cflib; the quaternion is also unpacked by cflib's own function."""
    flight, rng = loop(options=FULL_STATE), np.random.default_rng(0)
    flight.sees = False
    flight.run(0.2)
    flight.link.ask(Request.MODE)
    flight.run(0.1)
    packets: list[Any] = []
    flight.link._cf.packet_sent.add_callback(
        lambda packet: packets.append(packet) if packet.port == CRTPPort.COMMANDER_GENERIC else None
    )
    for _ in range(20):
        numbers, q = rng.uniform(-30.0, 30.0, (4, 3)), rotation.normalise(rng.normal(size=4))
        got = sent_motion(flight, Motion(*numbers[:3], q, numbers[3]))
        assert got.motion == pytest.approx(numbers[:3], abs=1.1e-3)
        assert np.radians(got.rates) == pytest.approx(numbers[3], abs=1.1e-3)
        assert np.linalg.norm(rotation.error(got.q, q)) < 0.01
        (packed,) = struct.unpack_from("<I", packets[-1].data, 19)
        assert got.q[[1, 2, 3, 0]] == pytest.approx(decompress_quaternion(packed), abs=1e-6)


def sent_motion(flight: Loop, motion: Motion) -> Any:
    """The firmware's setpoint after a motion was sent."""
    flight.link.send(RateSetpoint(0.5, np.zeros(3), motion))
    flight._settle()
    return flight.vehicle.setpoint


def test_full_states_stay_within_the_numbers_of_the_packet_or_are_not_sent(loop: Callable[..., Loop]) -> None:
    flight, level = loop(options=FULL_STATE), np.array([1.0, 0.0, 0.0, 0.0])
    flight.sees = False
    flight.run(0.2)
    flight.link.ask(Request.MODE)
    flight.run(0.1)
    far = sent_motion(flight, Motion(np.ones(3), np.full(3, 99.0), np.full(3, -99.0), level, np.full(3, 99.0)))
    assert np.abs(far.motion[1:]).min() > 32.7 and far.motion[1, 0] > 0.0 > far.motion[2, 0]
    for position in (np.array([0.0, 33.0, 0.0]), np.array([0.0, np.nan, 0.0])):
        still = sent_motion(flight, Motion(position, np.zeros(3), np.zeros(3), level, np.zeros(3)))
        assert still is far and any("within 32.767 m" in problem for problem in flight.link.problems())
    assert sent_motion(flight, Motion(np.ones(3), *np.zeros((2, 3)), level, np.full(3, np.inf))) is far
    assert sent_motion(flight, Motion(*np.zeros((3, 3)), level, np.zeros(3))) is not far
    assert not flight.link.problems()


def test_full_states_need_no_meeting_on_the_ground(loop: Callable[..., Loop]) -> None:
    """They have no thrust lock: control is taken from a Crazyflie that was first heard in flight."""
    vehicle = Firmware()
    vehicle.take_off(1.0, 0.5)
    for _ in range(300):
        vehicle.advance()
    flight = loop(vehicle, FULL_STATE)
    flight.reference = Hover(vehicle.state.q[:3].copy())
    flight.engage()
    flight.run(0.5)
    assert vehicle.full_states > 40 and vehicle.parameters["stabilizer.controller"] == MELLINGER
    assert vehicle.flying and flight.errors_m[-1] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("stale", ["state", "solver"])
@FORMS
def test_setpoints_stop_within_a_period_and_the_crazyflie_lands_by_itself(
    loop: Callable[..., Loop], stale: str, options: Options
) -> None:
    flight = loop(options=options)
    take_off(flight)
    flight.engage()
    flight.run(0.5)
    stopped_s = flight.vehicle.time_s
    flight.sees, flight.commanding = stale != "state", stale != "solver"
    flight.run(4.5)
    assert flight.vehicle.received_s[-1] <= stopped_s + LOG_STEPS * STEP_S
    assert flight.commander.offboard.phase is Phase.HANDED_BACK
    assert "high-level landing" in flight.vehicle.log and "locked" not in flight.vehicle.log
    assert flight.vehicle.state.q[2] < 0.02 and np.abs(flight.vehicle.state.q[:2]).max() < 0.3
    assert flight.vehicle.parameters["flightmode.stabModeRoll"] == ANGLE
    assert flight.vehicle.parameters["stabilizer.controller"] == 1
    flight.sees = flight.commanding = True
    flight.run(1.0)
    assert flight.vehicle.received_s[-1] <= stopped_s + LOG_STEPS * STEP_S


@pytest.mark.slow
@FORMS
def test_without_landing_the_firmware_levels_out_and_locks(loop: Callable[..., Loop], options: Options) -> None:
    flight = loop(options=options._replace(lands=False))
    take_off(flight)
    flight.engage()
    flight.commander.offboard.hand_back()
    flight.run(2.5)
    assert flight.vehicle.log[-2:] == ["level out", "locked"]
    assert flight.commander.offboard.vehicle is not None and "locked" in flight.commander.offboard.vehicle.mode


@pytest.mark.slow
def test_control_is_not_taken_in_flight_from_a_crazyflie_that_was_not_met_on_the_ground(
    loop: Callable[..., Loop],
) -> None:
    vehicle = Firmware()
    vehicle.take_off(1.0, 0.5)
    for _ in range(200):
        vehicle.advance()
    flight = loop(vehicle)
    flight.commander.offboard.engage()
    flight.run(2.0)
    assert not vehicle.received_s and vehicle.supervisor == "flying"
    assert any("land, then take control" in text for text in flight.texts)


def test_firmware_without_a_supervisor_is_named(loop: Callable[..., Loop]) -> None:
    flight = loop(without=("supervisor.info",))
    (problem,) = flight.link.problems()
    assert "its firmware lacks supervisor.info: update it to 2023.11 or later" in problem


def test_poses_of_motion_capture_reach_the_estimator(loop: Callable[..., Loop]) -> None:
    flight = loop(options=Options(external_pose=True))
    flight.run(0.3)
    flight.link.pose(checks.POSE[:3], checks.POSE[3:])
    flight.link.pose(np.full(3, np.nan), checks.POSE[3:])
    flight.run(0.05)
    ((position, xyzw),) = flight.vehicle.poses
    assert np.allclose(position, checks.POSE[:3]) and np.allclose(xyzw, checks.POSE[[4, 5, 6, 3]])
    assert flight.vehicle.parameters["stabilizer.estimator"] == 2
    resets = [each for each in flight.stand_in.commands if each.startswith("kalman.")]
    assert resets == ["kalman.resetEstimation=1", "kalman.resetEstimation=0"]


def test_a_wrong_url_is_refused_with_examples() -> None:
    with pytest.raises(MetaRLError, match=r"radio://0/80/2M/E7E7E7E7E7"):
        CrazyflieLink("nowhere", Options(), None, lambda: 0)  # type: ignore[arg-type]


@pytest.mark.slow
@FORMS
def test_hover_and_figure_eight_with_payload_and_wind(loop: Callable[..., Loop], options: Options) -> None:
    """With 30 % of payload, in 3 m/s of wind, with a battery that is 5 % down."""
    task = QuadrotorTask(
        payload=Payload(mass_kg=0.3 * 0.03), wind=Wind(mean_m_s=np.array([3.0, 0.0, 0.0])), battery=0.95
    )
    flight = loop(Firmware(task), options)
    take_off(flight)
    flight.controller = make_controller(flight.vehicle.robot, "meta_mpc")
    flight.run(OWN_HOLD_S)
    flight.heights_m.clear()
    flight.engage()
    flight.run(2.0)
    takeover = max(abs(height) for height in flight.heights_m[-round(2.0 / STEP_S) :])
    flight.run(1.0)
    hover = max(flight.errors_m[-round(1.0 / STEP_S) :])
    flight.reference = Later(FigureEight(ALOFT, rate_rad_s=0.8), flight.vehicle.time_s)
    flight.run(8.0)
    errors = np.array(flight.errors_m[-round(7.0 / STEP_S) :])
    learned, vehicle = flight.commander.curve.hover_thrust, flight.vehicle
    true = vehicle.thrust_of(vehicle.robot.mass_kg * 1.3 * 9.81 / vehicle.battery)
    print(f"height in the first 2 s: largest error {100 * takeover:.1f} cm; then hover: {100 * hover:.1f} cm; "
          f"figure eight: RMS {100 * np.sqrt(np.mean(errors**2)):.1f} cm, largest {100 * errors.max():.1f} cm; "
          f"hover thrust {learned:.3f}, true {true:.3f}")  # fmt: skip
    assert takeover < 0.1 and hover < 0.03 and errors.max() < 0.05
    assert vehicle.flying and not vehicle.failsafe
    assert vehicle.full_states > 1000 if options.full_state else abs(learned - true) < 0.04


def test_the_graph_takes_over_a_hover_and_hands_back_to_a_landing(start: Callable, tmp_path: Path) -> None:
    """It was started on the ground; the place that is held is that of the hover."""
    port = free_port()
    own = {"url": f"udp://127.0.0.1:{port}", "setpoints": "full_state"}
    file = lockstep_file(tmp_path, "crazyflie_bridge", "crazyflie", **own)
    graph = Graph(start, "crazyflie_bridge", ("lockstep", "crazyflie", str(port)), file)
    try:
        graph.wait_phase("streaming")
        graph.remote.tell("take_off 0.8")
        graph.probe.wait(lambda: graph.remote.now["position"][2] > 0.7, "take-off")
        assert graph.probe.trigger("crazyflie_bridge/engage").success
        graph.wait_phase("engaged")
        height_m = graph.remote.now["position"][2]
        largest = graph.fly(2.0).max()
        print(f"taken over at {100 * height_m:.1f} cm; largest error {100 * largest:.2f} cm")
        assert graph.remote.now["mode"] == "flying" and largest < 0.03, (largest, graph.remote.now)
        assert abs(graph.remote.now["position"][2] - height_m) < 0.15, (height_m, graph.remote.now)
        assert graph.probe.trigger("crazyflie_bridge/hand_back").success
        graph.wait_phase("handed_back")
        graph.probe.wait(lambda: graph.remote.now["mode"] == "ready", "landing")
        log = graph.remote.now["log"]
        assert "high-level landing" in log and "locked" not in log and graph.remote.now["position"][2] < 0.02
    finally:
        graph.stop()
