# SPDX-License-Identifier: Apache-2.0
"""MSP frames, stick curves and motors of Betaflight, without a flight controller."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.betaflight.msp_frames import Decoder, Frame, crc8, encode
from metarl_robot.robots.quadrotor.betaflight.msp_link import LinkError, MspLink
from metarl_robot.robots.quadrotor.betaflight.pilot import motor_order
from metarl_robot.robots.quadrotor.betaflight.settings import AxisRates, ModeRange, Settings, SettingsError
from metarl_robot.robots.quadrotor.betaflight.sticks import Sticks, stick_rate
from metarl_robot.robots.quadrotor.betaflight.thrust import MotorCurve, outputs_of
from metarl_robot.robots.quadrotor.description import MotorModel
from metarl_robot.robots.quadrotor.rate_loop import RateLoop

ROBOT = load_robot("x500", of_kind="quadrotor")
STRAIGHT = AxisRates(460.0, 460.0, 0.0, 1998.0)
SETTINGS = Settings(
    version="BTFL 4.6.0",
    rates=(STRAIGHT, AxisRates(70.0, 670.0, 0.4, 1998.0), AxisRates(70.0, 500.0, 1.0, 300.0)),
    center_us=1500,
    min_check_us=1050,
    channels=(0, 1, 3, 2),
    arm=ModeRange(0, 1, 1700, 2100),
    disarmed_aux_us=(1000, 1000, 1500),
    idle=0.15,
    props_out=False,
    failsafe_delay_s=0.5,
    arm_bit=0,
)


def answer(code: int, payload: bytes, version: int = 2, refused: bool = False) -> bytes:
    """A frame in the other direction: the checksums do not cover it."""
    request = encode(code, payload, version)
    return request[:2] + (b"!" if refused else b">") + request[3:]


def test_frames_are_those_of_the_protocol() -> None:
    assert encode(1, version=1) == b"$M<\x00\x01\x01"
    assert encode(100) == b"$X<\x00\x64\x00\x00\x00\x8f"  # the documentation's example of MSP_IDENT in version 2
    assert crc8(b"123456789") == 0xBC  # the check value of CRC-8/DVB-S2


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=300), st.booleans())), st.integers(1, 40))
def test_answers_are_found_in_any_pieces(sent: list[tuple[int, bytes, bool]], size: int) -> None:
    stream = b"".join(answer(code, payload, 2, refused) for code, payload, refused in sent)
    decoder, frames = Decoder(), []
    for start in range(0, len(stream), size):
        frames += decoder.feed(stream[start : start + size])
    assert frames == [Frame(*each) for each in sent]
    assert decoder.skipped == 0


def test_version_1_and_its_jumbo_frames() -> None:
    long = bytes(range(256)) * 2
    body = bytes([255, 119]) + len(long).to_bytes(2, "little") + long
    check = 0
    for byte in body:
        check ^= byte
    stream = answer(104, b"\x01\x02", 1) + b"$M>" + body + bytes([check])
    assert Decoder().feed(stream) == [Frame(104, b"\x01\x02"), Frame(119, long)]


@given(st.binary(max_size=60), st.integers(0, 15), st.integers(1, 255))
def test_noise_and_damage_cost_no_later_frame(noise: bytes, place: int, change: int) -> None:
    good = answer(104, b"abcdefgh")
    damaged = bytearray(good)
    damaged[place % len(good)] ^= change
    quiet = b"\0" * 70000  # a damaged length makes the decoder wait for this many bytes at most
    frames = Decoder().feed(noise.replace(b"$", b"") + bytes(damaged) + quiet + good)
    assert frames[-1] == Frame(104, b"abcdefgh")


def test_version_1_refuses_long_payloads() -> None:
    with pytest.raises(MetaRLError, match="version 1"):
        encode(200, bytes(255), version=1)


@pytest.fixture
def controller_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_refusals_silence_and_a_lost_link_are_errors(controller_port: socket.socket) -> None:
    def answers() -> None:
        with controller_port, controller_port.accept()[0] as line:
            line.recv(100)
            line.sendall(answer(3, b"\x04\x06\x00") + answer(7, b"", refused=True))
            line.recv(100)

    thread = threading.Thread(target=answers)
    thread.start()
    with MspLink(f"tcp://127.0.0.1:{controller_port.getsockname()[1]}") as link:
        link.send(3)
        frames: list[Frame] = []
        while len(frames) < 2:
            frames += link.received()
        assert frames == [Frame(3, b"\x04\x06\x00"), Frame(7, b"", True)]
        link.send(3)
        thread.join()
        with pytest.raises(LinkError, match=r"link is lost|no answer"):
            link.request(1, tries=200)
    with pytest.raises(LinkError, match="cannot be opened"):
        MspLink(link.url)
    with pytest.raises(LinkError, match="cannot be opened"):
        MspLink("/dev/no-such-device")


def test_a_request_that_was_lost_is_sent_again(controller_port: socket.socket) -> None:
    heard: list[bytes] = []

    def answer_the_second() -> None:
        with controller_port, controller_port.accept()[0] as line:
            heard.extend(line.recv(100) for _ in range(2))
            line.sendall(answer(3, b"\x04"))
            line.recv(100)

    thread = threading.Thread(target=answer_the_second)
    thread.start()
    with MspLink(f"tcp://127.0.0.1:{controller_port.getsockname()[1]}") as link:
        assert link.request(3) == b"\x04"
    thread.join()
    assert heard[0] == heard[1]


def test_curves_pass_through_centre_and_full_stick() -> None:
    for rates in SETTINGS.rates:
        ends = stick_rate(rates, np.array([-1.0, 0.0, 1.0]))
        full = min(rates.full, rates.limit)
        assert ends == pytest.approx([-full, 0.0, full])
        slope = stick_rate(rates, np.array([1e-6]))[0] / 1e-6
        assert slope == pytest.approx(rates.center, rel=1e-3)


def test_sticks_fly_the_rates_that_were_asked_for() -> None:
    """Forth with the channels, and back with Betaflight's own curves: half a microsecond of the stick is lost."""
    sticks, rng = Sticks(SETTINGS), np.random.default_rng(1)
    for _ in range(300):
        wanted = rng.uniform(-1.0, 1.0, 3) * 0.98 * sticks.largest_rates
        channels = sticks.flying(wanted, 0.5)
        for axis, (place, sign) in enumerate(((0, 1.0), (1, 1.0), (3, -1.0))):
            x = sign * (channels[place] - 1500) / 500.0
            flown = np.deg2rad(stick_rate(SETTINGS.rates[axis], np.array([x - 0.0011, x, x + 0.0011])))
            assert flown[0] <= wanted[axis] <= flown[2]


def test_channels_of_arming_and_throttle() -> None:
    sticks = Sticks(SETTINGS)
    assert sticks.waiting(armed=False) == [1500, 1500, 1000, 1500, 1000, 1000, 1500]
    assert sticks.waiting(armed=True) == [1500, 1500, 1000, 1500, 1000, 1900, 1500]
    assert sticks.flying(np.zeros(3), 0.0)[2] == 1050
    assert sticks.flying(np.zeros(3), 1.0)[2] == 2000
    assert sticks.flying(np.array([0.0, 0.0, 1.0]), 0.5)[3] < 1500  # left is counter-clockwise
    assert sticks.flying(np.full(3, 1e9), 9.0)[:4] == [2000, 2000, 2000, 1000]  # beyond the sticks: clipped


def test_throttle_gives_the_thrust() -> None:
    curve, idle = MotorCurve(ROBOT, idle=0.15), 0.15
    for collective in np.linspace(1.0, 34.0, 20):
        output = idle + (1.0 - idle) * curve.throttle(collective)
        assert curve.thrusts(np.full(4, output)).sum() == pytest.approx(collective, rel=1e-9)
    assert curve.throttle(0.0) == 0.0
    assert curve.throttle(1e9) == 1.0
    assert outputs_of(np.array([0.0, 1000.0, 1550.0, 2000.0])) == pytest.approx([0.0, 0.0, 0.55, 1.0])


def test_motors_are_matched_by_place_and_spin() -> None:
    """x500: front right, rear left (counter-clockwise), front left, rear right."""
    assert motor_order(ROBOT, props_out=False).tolist() == [1, 2, 3, 0]
    with pytest.raises(SettingsError, match="yaw_motors_reversed = OFF"):
        motor_order(ROBOT, props_out=True)


def test_the_rate_loop_learns_a_steady_torque() -> None:
    """A body that wind turns, held still by rotors: the torque is found within 2 %, and no rate is asked for."""
    loop, wind, rate = RateLoop(ROBOT, 0.03), np.array([0.05, -0.08, 0.01]), np.zeros(3)
    motors = MotorModel(ROBOT, ROBOT.hover_thrust)
    holding = ROBOT.thrusts(float(ROBOT.hover_thrust.sum()), -wind)
    for k in range(600):
        for _ in range(5):
            torque = ROBOT.allocation[1:] @ motors.advance(holding, 0.001) + wind
            rate = rate + 0.001 * np.linalg.solve(ROBOT.inertia, torque - np.cross(rate, ROBOT.inertia @ rate))
        loop.acted(0.005 * (k + 1), rate, holding)
    assert loop.torque == pytest.approx(wind, rel=0.02, abs=1e-4)
    still = loop.command(rate, holding)
    assert still.rates == pytest.approx(rate, abs=2e-3)
    assert still.collective_n == pytest.approx(ROBOT.hover_thrust.sum())
