# SPDX-License-Identifier: Apache-2.0
"""A connection to a flight controller over MSP: a serial device, or TCP as Betaflight's simulator build offers it."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.quadrotor.betaflight.msp_frames import Decoder, Frame, encode

_TCP = re.compile(r"tcp://(?P<host>[^:/]+):(?P<port>\d+)")
_KEPT = 256
_PAUSE_S = 0.001
_TRIES, _AGAIN = 2000, 400  # calls of `idle` to wait for an answer, and after which a request is sent again


class LinkError(MetaRLError):
    """The flight controller cannot be reached, does not answer, or refuses a request."""


class _Port(Protocol):
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class MspLink:
    """An open connection; close it, or use it in a `with` statement.

    Arguments:
        url: `tcp://HOST:PORT`, or a serial device such as `/dev/ttyACM0`.
        baud: speed of a serial device [bit/s].
        idle: called again and again while an answer is awaited; default: sleep 1 ms. A simulation that must go on for
            the answer to come steps here.

    Raises:
        LinkError: it cannot be opened.
    """

    def __init__(self, url: str, baud: int = 115200, idle: Callable[[], None] | None = None) -> None:
        self.url = url
        self._port: _Port = _open(url, baud)
        self._decoder = Decoder()
        self._frames: deque[Frame] = deque(maxlen=_KEPT)
        self._idle = idle or (lambda: time.sleep(_PAUSE_S))

    def send(self, code: int, payload: bytes = b"") -> None:
        """Send a request and do not wait; its answer comes with `received`. Raises LinkError: the link is lost."""
        self._write(encode(code, payload))

    def received(self) -> list[Frame]:
        """Return the answers that arrived since the last call. Raises LinkError: the link is lost."""
        self._read()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def request(self, code: int, payload: bytes = b"", tries: int = _TRIES) -> bytes:
        """Send a request and wait for its answer; other answers that come before are dropped.

        It is sent again where no answer comes: a controller may drop what it gets while it opens its port.

        Arguments:
            code: of the request. payload: its content.
            tries: number of calls of `idle` to wait for.

        Raises:
            LinkError: no answer, a refusal, or the link is lost.
        """
        self.received()
        for waited in range(tries):
            if waited % _AGAIN == 0:
                self.send(code, payload)
            for frame in self.received():
                if frame.code == code:
                    if frame.refused:
                        raise LinkError(f"{self.url}: the flight controller refuses MSP code {code}")
                    return frame.payload
            self._idle()
        raise LinkError(f"{self.url}: no answer to MSP code {code}; is it Betaflight, and is MSP enabled on this port?")

    def close(self) -> None:
        self._port.close()

    def __enter__(self) -> MspLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        try:
            self._frames.extend(self._decoder.feed(self._port.read()))
        except OSError as error:
            raise LinkError(f"{self.url}: the link is lost: {error}") from error

    def _write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise LinkError(f"{self.url}: the link is lost: {error}") from error


def _open(url: str, baud: int) -> _Port:
    found = _TCP.fullmatch(url)
    try:
        return _Tcp(found["host"], int(found["port"])) if found else _Serial(url, baud)
    except OSError as error:
        raise LinkError(f"{url}: cannot be opened: {error.strerror or error}") from error


class _Tcp:
    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=2.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    def read(self) -> bytes:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return b""
        if not data:
            raise OSError(errno.ECONNRESET, "closed by the flight controller")
        return data

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class _Serial:
    """A serial device of Linux or macOS, raw, 8 data bits, no parity."""

    def __init__(self, path: str, baud: int) -> None:
        import termios

        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise LinkError(f"{path}: no such speed as {baud} bit/s; usual ones are 115200, 460800 and 921600")
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            control = termios.tcgetattr(self._file)[6]
            flags = termios.CS8 | termios.CREAD | termios.CLOCAL
            termios.tcsetattr(self._file, termios.TCSANOW, [0, 0, flags, 0, speed, speed, control])
        except termios.error as error:
            os.close(self._file)
            raise OSError(errno.ENOTTY, f"not a serial device: {error}") from error

    def read(self) -> bytes:
        try:
            return os.read(self._file, 65536)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        try:
            sent = os.write(self._file, data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            raise OSError(errno.EAGAIN, "the serial device does not take the data: raise its baud")

    def close(self) -> None:
        os.close(self._file)
