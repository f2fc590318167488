# SPDX-License-Identifier: Apache-2.0
"""The MAVLink bridge and a stand-in autopilot, over real UDP on this machine.

The stand-in (tests/autopilot/) is NOT PX4: it flies our MuJoCo plant, has a rate loop, modes and failsafes by PX4's
documentation, and speaks the real protocol by pymavlink. First the link alone, in simulated time; then the whole graph
mpc → gate → mavlink_bridge → stand-in, in lockstep and in real time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

pytest.importorskip("pymavlink", reason="needs the extra [mavlink]")

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.quadrotor.autopilot.attitude_setpoint import AttitudeGains, attitude_setpoint
from metarl_robot.robots.quadrotor.autopilot.commander import Settings
from metarl_robot.robots.quadrotor.autopilot.offboard import FRESH_S
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint
from metarl_robot.ros_nodes.bridges.mavlink_link import MavlinkLink, Rates
from tests.autopilot import loop as checks
from tests.autopilot.attitude_loop import MC_ROLL_P, MC_YAW_P
from tests.autopilot.graph import Graph, check_hand_back, check_killed_solver, lockstep_file
from tests.autopilot.loop import POSE, Delivery, Loop, loaded_vehicle
from tests.autopilot.mavlink_stand_in import MavlinkStandIn
from tests.autopilot.vehicle import Vehicle

RATES, GAINS = Settings(), AttitudeGains(MC_ROLL_P, MC_YAW_P)
ATTITUDES = Settings(attitude_gains=GAINS)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        return int(port.getsockname()[1])


class PolledLink(MavlinkLink):
    """The link, read by the loop instead of by its own thread: simulated time waits for no scheduler."""

    def _read(self) -> None:
        """The thread ends at once."""

    def poll(self) -> None:
        while (message := self._connection.recv_msg()) is not None:
            self._take(message)


@pytest.fixture
def loop() -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(
        vehicle: Vehicle | None = None,
        without: tuple[str, ...] = (),
        firmware: str = "px4",
        polled: bool = True,
        settings: Settings = RATES,
    ) -> Loop:
        kind = PolledLink if polled else MavlinkLink
        port, flown = free_port(), vehicle or Vehicle()
        made.append(
            Loop(
                flown,
                lambda listener, clock: kind(f"udpin:127.0.0.1:{port}", 57600, Rates(200.0, 200.0), listener, clock),
                lambda: MavlinkStandIn(flown, f"udpout:127.0.0.1:{port}", without, firmware),
                (lambda: made[-1].link.poll()) if polled else (lambda: None),
                deliveries=deliveries,
                settings=settings,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.link.close()
        one.stand_in.link.close()


def deliveries(loop: Loop) -> tuple[Delivery, Delivery]:
    """Of both ends, by the counts of pymavlink."""
    theirs, ours = loop.stand_in.link.mav, loop.link._connection.mav
    return (
        Delivery(lambda: theirs.total_packets_sent, lambda: ours.total_packets_received),
        Delivery(lambda: ours.total_packets_sent, lambda: theirs.total_packets_received),
    )


@pytest.mark.parametrize(
    ("without", "tolerance"),
    [((), 1e-5), (("ODOMETRY",), 0.02), (("ODOMETRY", "ATTITUDE_QUATERNION"), 0.02)],
    ids=["odometry", "position and quaternion", "position and angles"],
)
def test_states_arrive_in_our_frames_with_the_time_of_their_measurement(
    loop: Callable[..., Loop], without: tuple[str, ...], tolerance: float
) -> None:
    flight = loop(Vehicle(q=POSE), without, polled=False)
    flight.sees = False
    end_s = monotonic() + 60.0
    while len(flight.states) < 40 and monotonic() < end_s:
        flight.step()
        sleep(0.004)  # the link measures silence in real time
    checks.check_states(flight, 20, tolerance)


def test_the_imu_arrives_in_our_axes(loop: Callable[..., Loop]) -> None:
    flight = loop(Vehicle(q=POSE))
    flight.run(2.0)
    checks.check_inertials(flight, 50)


def test_offboard_is_entered_only_after_a_stream(loop: Callable[..., Loop]) -> None:
    checks.check_streaming_first(loop())


@pytest.mark.parametrize("stale", ["state", "solver"])
def test_setpoints_and_heartbeat_stop_within_a_period(loop: Callable[..., Loop], stale: str) -> None:
    flight = loop()
    stopped_s = checks.check_stale(flight, stale)
    assert not any(stopped_s + FRESH_S + 0.1 < at_s < stopped_s + 2.0 for at_s in flight.stand_in.heartbeats_s)


def test_a_pilot_who_takes_over_keeps_control_until_the_bridge_is_told(loop: Callable[..., Loop]) -> None:
    checks.check_pilot(loop())


@pytest.mark.slow
@pytest.mark.parametrize("settings", [RATES, ATTITUDES], ids=["rates", "attitude"])
def test_hover_and_figure_eight_with_payload_and_wind(loop: Callable[..., Loop], settings: Settings) -> None:
    flight = loop(loaded_vehicle(), settings=settings)
    checks.check_flight(flight, takeover_m=0.1, hover_m=0.03, eight_m=0.05)
    assert (flight.vehicle.setpoint.attitude is None) == (settings is RATES)


def test_attitudes_arrive_in_our_frames(loop: Callable[..., Loop]) -> None:
    flight = loop(Vehicle(q=POSE), settings=ATTITUDES)
    flight.commanding = False
    flight.run(1.0)
    wanted = attitude_setpoint(POSE[3:], np.zeros(3), np.array([0.3, -0.2, 0.1]), GAINS, 0.0)
    flight.link.send(RateSetpoint(0.5, np.zeros(3), attitude=wanted))
    flight.run(0.05)
    assert flight.vehicle.setpoint.attitude is not None and flight.vehicle.setpoint.thrust == 0.5
    assert abs(float(flight.vehicle.setpoint.attitude @ wanted)) == pytest.approx(1.0, abs=1e-6)


def test_ardupilot_without_thrust_in_its_options_is_not_asked_for_the_mode(loop: Callable[..., Loop]) -> None:
    flight = loop(firmware="ardupilot")
    flight.commander.offboard.engage()
    flight.run(4.5)
    assert not flight.stand_in.commands and not flight.vehicle.received_s
    assert any("GUID_OPTIONS" in text for text in flight.link.problems())
    flight.stand_in.guid_options = 8
    end_s = monotonic() + 60.0
    while not flight.stand_in.commands and monotonic() < end_s:
        flight.run(0.5)  # the link asks for the parameter again in real time
    assert [(number, parameters[:2]) for number, parameters in flight.stand_in.commands][:1] == [(176, (1.0, 4.0))]
    assert not any("GUID_OPTIONS" in text for text in flight.link.problems())


def test_a_wrong_url_is_refused_with_examples() -> None:
    with pytest.raises(MetaRLError, match=r"udpin:127.0.0.1:14540"):
        MavlinkLink("udpin:nowhere", 0, Rates(1.0, 1.0), None, lambda: 0)  # type: ignore[arg-type]


@pytest.fixture
def graph(start: Callable) -> Iterator[Callable[..., Graph]]:
    made: list[Graph] = []

    def make(folder: Path | None = None, setpoints: str = "rates") -> Graph:
        """In lockstep with a launch file in that folder, or as launched in real time."""
        port = free_port()
        url, remote = f"udpin:127.0.0.1:{port}", ("mavlink", f"udpout:127.0.0.1:{port}")
        if folder is None:
            made.append(Graph(start, "mavlink_bridge", remote, url=url))
        else:
            file = lockstep_file(folder, "mavlink_bridge", url=url, setpoints=setpoints)
            made.append(Graph(start, "mavlink_bridge", ("lockstep", *remote), file))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_the_graph_hovers_and_hands_back_to_the_pilot(graph: Callable[..., Graph], tmp_path: Path) -> None:
    check_hand_back(graph(tmp_path, "rates"))


def test_a_solver_that_is_killed_ends_the_stream_and_the_autopilot_holds(
    graph: Callable[..., Graph], tmp_path: Path
) -> None:
    check_killed_solver(graph(tmp_path))


@pytest.mark.real_time
def test_as_launched_it_hears_the_autopilot_in_real_time(graph: Callable[..., Graph]) -> None:
    one = graph()
    one.probe.wait(lambda: one.places and one.wanted and one.phases, "states, setpoints and phases")
