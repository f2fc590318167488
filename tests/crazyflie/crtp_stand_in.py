# SPDX-License-Identifier: Apache-2.0
"""The stand-in firmware (firmware.py) speaking CRTP over UDP, as Bitcraze's simulated Crazyflies do: one packet a
datagram. Packets are laid out and read here with formats of our own, from the firmware's documentation and source,
not with cflib's.

It answers the requests of a connection: protocol version, tables of contents and values of logs and parameters, no
memories. Without arguments of its own it is a Crazyflie with firmware of 2025 (protocol 12).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tests.crazyflie.firmware import LEAST_PWM, MOST_PWM, Firmware

Array = NDArray[np.float64]

KINDS = {1: "B", 2: "H", 3: "I", 4: "b", 5: "h", 6: "i", 7: "f", 8: "e"}  # of logs
NUMBERS = {kind: number for number, kind in KINDS.items()}
PARAMETER_U8, PARAMETER_FLOAT = 0x08, 0x06
PROTOCOL = 12


class CrtpStandIn:
    """One Crazyflie on one UDP port. without: log variables that this firmware does not have.

    Attributes:
        sent, received: numbers of packets. commands: names of requests to the supervisor and commander.
    """

    def __init__(self, vehicle: Firmware, port: int, without: tuple[str, ...] = (), protocol: int = PROTOCOL) -> None:
        self.vehicle, self._protocol = vehicle, protocol
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", int(port)))
        self.socket.setblocking(False)
        self._peer: Any = None
        self.sent = self.received = 0
        self.commands: list[str] = []
        self._logs = [(name, kind, read) for name, kind, read in self._variables() if name not in without]
        self._blocks: dict[int, list[tuple[int, int]]] = {}
        self._running: dict[int, int] = {}  # period [ms] of started blocks
        self._ports: dict[int, Callable[[int, bytes], None]] = {
            2: self._parameters, 3: self._setpoint, 4: self._memories, 5: self._logging, 6: self._location,
            7: self._generic, 8: self._high_level, 9: self._supervisor, 13: self._platform, 15: self._link,
        }  # fmt: skip

    def _variables(self) -> list[tuple[str, str, Callable[[], float]]]:
        """Name, kind as stored, and value of each log variable."""
        vehicle = self.vehicle

        def state(group: int, index: int, factor: float = 1.0) -> Callable[[], float]:
            return lambda: factor * float((vehicle.state.q if group == 0 else vehicle.state.v)[index])

        found: list[tuple[str, str, Callable[[], float]]] = [("pm.vbat", "f", lambda: 4.2 * vehicle.battery)]
        for i, axis in enumerate("xyz"):
            found += [
                (f"stateEstimateZ.{axis}", "h", state(0, i, 1e3)), (f"stateEstimateZ.v{axis}", "h", state(1, i, 1e3)),
                (f"gyro.{axis}", "f", state(1, 3 + i, 180.0 / np.pi)),
                (f"acc.{axis}", "f", lambda i=i: float(vehicle.state.specific_force[i]) / 9.81),
            ]  # fmt: skip
        found += [(f"stateEstimate.q{part}", "f", state(0, 3 + i)) for i, part in enumerate("wxyz")]
        for i, (name, sign) in enumerate((("Roll", 1e3), ("Pitch", -1e3), ("Yaw", 1e3))):
            found.append((f"stateEstimateZ.rate{name}", "h", state(1, 3 + i, sign)))
        found.append(("stabilizer.thrust", "f", lambda: vehicle.thrust * MOST_PWM))
        found.append(("supervisor.info", "H", lambda: vehicle.info))
        return found

    # Running.

    def step(self) -> None:
        """One period: what has arrived, the flight, what is due."""
        self.receive()
        self.vehicle.advance()
        self.transmit()

    def receive(self) -> None:
        while True:
            try:
                packet, self._peer = self.socket.recvfrom(64)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.received += 1
            header, data = packet[0], packet[1:]
            if header == 0xFF and not data:
                self._send(0xF, 3, b"")
            else:
                self._ports.get(header >> 4, lambda channel, data: None)(header & 3, data)

    def transmit(self) -> None:
        now_ms = round(self.vehicle.time_s * 1000)
        for block, period_ms in self._running.items():
            if now_ms % period_ms == 0:
                values = [_packed(KINDS[kind], self._logs[number][2]()) for kind, number in self._blocks[block]]
                stamp = (self.vehicle.boot_ns // 1_000_000) % (1 << 24)
                self._send(5, 2, bytes([block]) + stamp.to_bytes(3, "little") + b"".join(values))

    def close(self) -> None:
        self.socket.close()

    def _send(self, port: int, channel: int, data: bytes) -> None:
        assert len(data) <= 30, "a CRTP packet carries 30 bytes"
        if self._peer is not None:
            self.sent += 1
            self.socket.sendto(bytes([port << 4 | 3 << 2 | channel]) + data, self._peer)

    # Requests of a connection.

    def _link(self, channel: int, data: bytes) -> None:
        self._send(15, channel, data if channel == 0 else b"Bitcraze Crazyflie\0")

    def _platform(self, channel: int, data: bytes) -> None:
        if channel == 1 and data[0] == 0:
            self._send(13, 1, bytes([0, self._protocol]))
        elif channel == 0 and data[0] == 1:
            self._arm(bool(data[1]))

    def _memories(self, channel: int, data: bytes) -> None:
        if channel == 0 and data[0] == 1:
            self._send(4, 0, bytes([1, 0]))

    def _contents(self, port: int, data: bytes, entries: list[tuple[str, int]]) -> None:
        """A table of contents: name and type of each entry."""
        if data[0] == 3:
            checksum = crc32(repr(entries).encode())
            self._send(port, 0, struct.pack("<BHI", 3, len(entries), checksum))
        elif data[0] == 2:
            (number,) = struct.unpack_from("<H", data, 1)
            name, kind = entries[number]
            text = name.replace(".", "\0").encode() + b"\0"
            self._send(port, 0, struct.pack("<BHB", 2, number, kind) + text)

    def _logging(self, channel: int, data: bytes) -> None:
        if channel == 0:
            self._contents(5, data, [(name, NUMBERS[kind]) for name, kind, _ in self._logs])
            return
        command, block = data[0], data[1] if len(data) > 1 else 0
        if command == 5:
            self._blocks, self._running = {}, {}
        elif command in (6, 7):
            whole = data[2 : 2 + (len(data) - 2) // 3 * 3]  # cflib may leave a byte behind, which the firmware ignores
            wanted = [(kind & 0xF, number) for kind, number in struct.iter_unpack("<BH", whole)]
            self._blocks[block] = (self._blocks[block] if command == 7 else []) + wanted
            size = sum(struct.calcsize(KINDS[kind]) for kind, _ in self._blocks[block])
            assert size <= 26, f"block {block} has {size} bytes"
        elif command == 3:
            self._running[block] = 10 * data[2]
        elif command in (2, 4):
            self._running.pop(block, None)
        self._send(5, 1, bytes([command, block, 0]))

    def _parameters(self, channel: int, data: bytes) -> None:
        parameters = self.vehicle.parameters
        if channel == 0:
            self._contents(2, data, [(name, self._parameter_kind(name)) for name in parameters])
            return
        (number,) = struct.unpack_from("<H", data)
        name = list(parameters)[number]
        if channel == 1:
            kind = "f" if self._parameter_kind(name) == PARAMETER_FLOAT else "B"
            self._send(2, 1, struct.pack(f"<HB{kind}", number, 0, parameters[name]))
        elif channel == 2:
            parameters[name] = data[2]
            self.commands.append(f"{name}={data[2]}")
            self._send(2, 2, struct.pack("<HB", number, data[2]))

    def _parameter_kind(self, name: str) -> int:
        return PARAMETER_FLOAT if isinstance(self.vehicle.parameters[name], float) else PARAMETER_U8

    # Commands.

    def _setpoint(self, channel: int, data: bytes) -> None:
        roll, pitch, yaw, thrust = struct.unpack("<fffH", data)
        if thrust < LEAST_PWM:
            self.commands.append(f"thrust {thrust}")
        self.vehicle.rpyt(roll, pitch, yaw, thrust)

    def _generic(self, channel: int, data: bytes) -> None:
        if channel == 1 and data[0] == 0:
            self.vehicle.notify_stop()
        elif channel == 0 and data[0] == 6:
            numbers = struct.unpack("<9hI3h", data[1:])
            xyz, quaternion, rates = np.array(numbers[:9]).reshape(3, 3) / 1e3, numbers[9], np.array(numbers[10:]) / 1e3
            self.vehicle.full_state(*xyz, decompressed(quaternion), np.degrees(rates))
        elif channel == 0:
            self.commands.append(f"generic setpoint {data[0]}")

    def _high_level(self, channel: int, data: bytes) -> None:
        if data[0] == 8:
            _, _, height_m, _, _, duration_s = struct.unpack("<BBff?f", data)
            self.vehicle.land(height_m, duration_s)

    def _location(self, channel: int, data: bytes) -> None:
        if channel == 1 and data[0] == 8:
            numbers = np.array(struct.unpack("<7f", data[1:]))
            self.vehicle.poses.append((numbers[:3], numbers[3:]))

    def _supervisor(self, channel: int, data: bytes) -> None:
        if channel == 1 and data[0] == 1:
            done = self._arm(bool(data[1]))
            self._send(9, 1, bytes([0x81, done, self.vehicle.armed]))
        elif channel == 0 and data[0] == 0x0C:
            self._send(9, 0, struct.pack("<BH", 0x8C, self.vehicle.info))

    def _arm(self, arm: bool) -> bool:
        self.commands.append("arm" if arm else "disarm")
        return self.vehicle.arm(arm)


def decompressed(packed: int) -> Array:
    """quatcompress.h: the number of the largest component of xyzw in 2 bits, the others in 10: sign, 9 bits of √2 |x|.
    Returns wxyz.
    """
    largest, xyzw = packed >> 30, np.zeros(4)
    for i in (each for each in (3, 2, 1, 0) if each != largest):
        xyzw[i] = (packed & 0x1FF) / 0x1FF / np.sqrt(2.0) * (-1.0 if packed & 0x200 else 1.0)
        packed >>= 10
    xyzw[largest] = np.sqrt(1.0 - xyzw @ xyzw)
    return xyzw[[3, 0, 1, 2]]


def _packed(kind: str, value: float) -> bytes:
    if kind == "e" and abs(value) > 65504.0:
        value = np.copysign(np.inf, value)  # single2half
    if kind in "ef":
        return struct.pack(f"<{kind}", value)
    return struct.pack(f"<{kind}", int(value))
