# SPDX-License-Identifier: Apache-2.0
"""Frames of the MultiWii Serial Protocol (MSP), versions 1 and 2, as Betaflight speaks them.

    v1: '$' 'M' direction, size (1 byte), code (1 byte), payload, XOR of all bytes from size on.
        A size of 255 announces a jumbo frame: the size follows the code as 2 bytes.
    v2: '$' 'X' direction, flags (1 byte), code (2 bytes), size (2 bytes), payload, CRC-8/DVB-S2 from flags on.

Directions: '<' to the flight controller, '>' its answer, '!' its refusal. Numbers are little-endian.
Source: Betaflight 4.6, src/main/msp/msp_serial.c.
"""

from __future__ import annotations

import struct
from functools import reduce
from operator import xor
from typing import NamedTuple

from metarl_robot.core.errors import MetaRLError

_LONGEST = 8192  # bytes of payload; a longer frame is taken for noise
_JUMBO = 255
_POLYNOMIAL = 0xD5


class Frame(NamedTuple):
    """An answer. refused: the flight controller does not know the code, or refuses its payload."""

    code: int
    payload: bytes
    refused: bool = False


def crc8(data: bytes) -> int:
    """CRC-8/DVB-S2 (polynomial 0xD5, initial value 0) of the data."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ _POLYNOMIAL if crc & 0x80 else crc << 1) & 0xFF
    return crc


def encode(code: int, payload: bytes = b"", version: int = 2) -> bytes:
    """Return the frame of a request.

    Raises:
        MetaRLError: a code or a payload that the version cannot carry.
    """
    if version == 1:
        if not 0 <= code < 255 or len(payload) >= _JUMBO:
            raise MetaRLError(f"MSP: version 1 carries codes below 255 and less than 255 bytes; given code {code}")
        body = bytes([len(payload), code]) + payload
        return b"$M<" + body + bytes([reduce(xor, body)])
    if version != 2 or not 0 <= code <= 0xFFFF or len(payload) > _LONGEST:
        raise MetaRLError(f"MSP: no frame for version {version}, code {code}, {len(payload)} bytes")
    body = struct.pack("<BHH", 0, code, len(payload)) + payload
    return b"$X<" + body + bytes([crc8(body)])


class Decoder:
    """Finds answers in a stream of bytes; bytes that belong to no valid frame are skipped and counted.

    skipped: number of such bytes until now.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.skipped = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Process received bytes; return the frames that they complete."""
        self._bytes += data
        frames: list[Frame] = []
        while self._bytes:
            taken, frame = _first(bytes(self._bytes[: _LONGEST + 16]))
            if taken == 0:
                break
            del self._bytes[:taken]
            if frame is None:
                self.skipped += taken
            else:
                frames.append(frame)
        return frames


def _first(data: bytes) -> tuple[int, Frame | None]:
    """Bytes to take away and the frame in them; (0, None): more bytes are needed; (n, None): no frame in n bytes."""
    begin = data.find(b"$")
    if begin != 0:
        return (len(data) if begin < 0 else begin), None
    if len(data) < 3:
        return 0, None
    if data[1:2] not in b"MX" or data[2:3] not in b">!":
        return 1, None
    header = _header_v1(data) if data[1:2] == b"M" else _header_v2(data)
    if header is None:
        return 0, None
    code, start, size = header
    if size > _LONGEST:
        return 1, None
    end = start + size
    if len(data) <= end:
        return 0, None
    check = reduce(xor, data[3:end]) if data[1:2] == b"M" else crc8(data[3:end])
    if check != data[end]:
        return 1, None
    return end + 1, Frame(code, data[start:end], data[2:3] == b"!")


def _header_v1(data: bytes) -> tuple[int, int, int] | None:
    """Code, start and size of the payload; None: incomplete."""
    if len(data) < 5:
        return None
    if data[3] != _JUMBO:
        return data[4], 5, data[3]
    return None if len(data) < 7 else (data[4], 7, int.from_bytes(data[5:7], "little"))


def _header_v2(data: bytes) -> tuple[int, int, int] | None:
    if len(data) < 8:
        return None
    _, code, size = struct.unpack_from("<BHH", data, 3)
    return code, 8, size
