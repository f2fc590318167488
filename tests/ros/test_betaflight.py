# SPDX-License-Identifier: Apache-2.0
"""Betaflight's real firmware (4.6.0, its simulator build) flies our simulated X500; `make betaflight` builds it.

One process, in lockstep: controller → bridge core → MSP over TCP → firmware → motors → MuJoCo → sensors → firmware.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.betaflight.bridge import BetaflightBridge
from metarl_robot.robots.quadrotor.betaflight.msp_link import LinkError, MspLink
from metarl_robot.robots.quadrotor.betaflight.pilot import Phase
from metarl_robot.robots.quadrotor.betaflight.settings import SettingsError, read_settings
from metarl_robot.robots.quadrotor.command import RateCommand
from metarl_robot.sim.quadrotor.betaflight import firmware as betaflight
from metarl_robot.sim.quadrotor.betaflight.commissioning import commission
from metarl_robot.sim.quadrotor.betaflight.firmware import MSP_URL, PACKET_S, Firmware, FirmwareError
from metarl_robot.sim.quadrotor.betaflight.flight import Flight, arm, flights, fly, loaded_task
from metarl_robot.sim.quadrotor.betaflight.plant import BetaflightPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

pytestmark = pytest.mark.skipif(bool(betaflight.missing()), reason=betaflight.missing() or "built")

ROBOT = load_robot("x500", of_kind="quadrotor")
AT_REST = State(ROBOT.home, np.zeros(6))
SEED = 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a firmware with the X500's settings."""
    path = tmp_path_factory.mktemp("betaflight")
    commission(path, ROBOT.folder / "betaflight.txt", AT_REST)
    return path


class Bench:
    """A quadrotor on the bench with its flight controller, and a bridge."""

    def __init__(self, folder: Path, task: QuadrotorTask) -> None:
        with ExitStack() as opened:
            self.firmware = opened.enter_context(Firmware(folder))
            self.plant = BetaflightPlant(ROBOT, self.firmware, task)
            self.link = opened.enter_context(MspLink(MSP_URL, idle=lambda: self.wait(PACKET_S)))
            self.bridge = BetaflightBridge(ROBOT, self.link)
            self.close = opened.pop_all().close

    def wait(self, duration_s: float) -> None:
        self.plant.step(duration_s)

    def hold(self, duration_s: float, thrusts: np.ndarray = ROBOT.hover_thrust) -> None:
        """Command for a duration."""
        for _ in range(round(duration_s / ROBOT.control_period_s)):
            state = self.plant.physics.measure()
            self.bridge.update(self.plant.time_s, self.plant.time_s, state)
            self.bridge.command(state, thrusts)
            self.wait(ROBOT.control_period_s)

    def listen(self, duration_s: float) -> None:
        """Send no command, but ask for the status."""
        for _ in range(round(duration_s / ROBOT.control_period_s)):
            self.bridge.update(self.plant.time_s, self.plant.time_s, self.plant.physics.measure())
            self.wait(ROBOT.control_period_s)


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    it = Bench(folder, QuadrotorTask())
    yield it
    it.close()


def test_settings_are_read(bench: Bench) -> None:
    settings = bench.bridge.pilot.settings
    assert settings.version == "BTFL 4.6.0"
    assert [(rates.center, rates.full, rates.expo) for rates in settings.rates] == [
        (460.0, 460.0, 0.0), (460.0, 460.0, 0.0), (180.0, 180.0, 0.0),
    ]  # fmt: skip
    assert (settings.channels, settings.min_check_us, settings.idle) == ((0, 1, 3, 2), 1050, pytest.approx(0.15))
    assert (settings.arm.aux, settings.arm.low_us, settings.arm_us) == (0, 1700, 1900)
    with pytest.raises(LinkError, match="refuses MSP code 12345"):
        bench.link.request(12345)


def test_sensors_have_the_firmware_s_axes(folder: Path) -> None:
    """Specific force and rates in MSP_RAW_IMU (256 per g, 16.4 per deg/s) are those of our body frame."""
    v, force = np.array([0.0, 0.0, 0.0, 0.5, -1.0, 0.7]), np.array([1.0, -2.0, 9.0])
    moving = State(ROBOT.home, v, force)
    with Firmware(folder) as firmware, MspLink(MSP_URL, idle=lambda: firmware.step(moving)) as link:
        for _ in range(200):
            firmware.step(moving)
        shown = np.array(struct.unpack_from("<6h", link.request(102)), dtype=float)
    assert shown[:3] == pytest.approx(force / 9.80665 * 256.0, abs=6.0)
    assert shown[3:] == pytest.approx(16.4 * np.rad2deg(v[3:]), abs=2.0)


def test_it_arms_only_when_told_and_disarms_when_told(bench: Bench) -> None:
    pilot = bench.bridge.pilot
    bench.hold(8.0)  # longer than the firmware's calibration and grace times
    assert not pilot.status.armed
    assert pilot.phase is Phase.DISARMED
    assert set(pilot.status.not_arming) <= {"ARM_SWITCH"}
    assert not bench.plant.outputs.any()
    arm(bench.bridge, bench.plant, ROBOT.hover_thrust)
    assert pilot.status.armed
    hover = bench.bridge.acting
    assert hover is not None
    assert hover == pytest.approx(ROBOT.hover_thrust, rel=0.02)
    pilot.arm = False
    bench.hold(0.2)
    assert not pilot.status.armed
    assert pilot.disarms == 0
    assert not bench.plant.outputs.any()


def test_rates_and_their_signs_reach_the_motors(bench: Bench) -> None:
    """A commanded roll to the right, pitch down, turn to the left: the torques of our allocation have these signs."""
    arm(bench.bridge, bench.plant, ROBOT.hover_thrust)
    for axis in range(3):
        wanted = 0.5 * np.eye(3)[axis]
        for _ in range(6):
            bench.bridge.pilot.update(bench.plant.time_s)
            bench.bridge.pilot.fly(RateCommand(float(ROBOT.hover_thrust.sum()), wanted))
            bench.wait(0.005)
        thrusts = ROBOT.thrusts_of(bench.plant.outputs * ROBOT.speeds(ROBOT.effort_limit))
        torque = ROBOT.allocation[1:] @ thrusts
        assert torque[axis] > 3.0 * np.abs(np.delete(torque, axis)).max() > 0.0 or torque[axis] > 0.01
        bench.hold(0.3)


def test_failsafe_acts_when_commands_stop(bench: Bench) -> None:
    """Without commands the firmware disarms by itself, after the delay that it reports (0.5 s) and at most 0.3 s more.

    The disarming is counted, and the bridge does not arm again until it is told to.
    """
    pilot = bench.bridge.pilot
    arm(bench.bridge, bench.plant, ROBOT.hover_thrust)
    bench.listen(pilot.settings.failsafe_delay_s - 0.1)
    assert pilot.status.armed
    assert pilot.disarms == 0
    bench.listen(0.4)
    assert not pilot.status.armed
    assert pilot.disarms == 1
    assert pilot.phase is Phase.LOST
    bench.hold(3.0)
    assert not pilot.status.armed
    assert not bench.plant.outputs.any()


def test_settings_that_cannot_be_flown_are_refused(tmp_path: Path) -> None:
    """A firmware as it is delivered: no switch arms it."""
    with (
        Firmware(tmp_path) as firmware,
        MspLink(MSP_URL, idle=lambda: firmware.step(AT_REST)) as link,
        pytest.raises(SettingsError, match="no AUX channel arms"),
    ):
        read_settings(link)
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("set p_roll = 60\nset no_such_thing = 1\n")
    with pytest.raises(FirmwareError, match="refuses 'set no_such_thing = 1'"):
        commission(tmp_path, wrong, AT_REST)


def test_only_one_firmware_runs(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match="UDP port 9002 is taken"):
        Firmware(tmp_path)
    assert bench.firmware.running


def test_a_firmware_that_ends_is_an_error(folder: Path) -> None:
    with Firmware(folder) as firmware:
        firmware._process.kill()
        with pytest.raises(FirmwareError, match="stopped|does not answer"):
            for _ in range(3):
                firmware.step(AT_REST)


@pytest.fixture(scope="module")
def flown(folder: Path) -> dict[tuple[str, str], Flight]:
    """Flights of six seconds with 30 % of payload and 6 m/s of wind."""
    task = loaded_task(ROBOT, SEED)
    return {
        (name, each): fly(ROBOT, make_controller(ROBOT, each), reference, task, folder, duration_s=6.0, seed=SEED)
        for name, reference in flights().items()
        for each in ("l1_mpc", "meta_mpc")
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(flights()))
def test_the_adaptive_controller_carries_payload_through_wind(flown: dict[tuple[str, str], Flight], name: str) -> None:
    """After one second within 5 cm at all times, and an RMS error of at most 0.7 of that of an L1 observer."""
    adaptive, other = flown[name, "meta_mpc"], flown[name, "l1_mpc"]
    assert not adaptive.crashed
    assert adaptive.disarms == other.disarms == 0
    assert adaptive.worst_m <= 0.05
    assert adaptive.rms_m <= 0.7 * other.rms_m
