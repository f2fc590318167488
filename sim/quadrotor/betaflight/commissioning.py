# SPDX-License-Identifier: Apache-2.0
"""Settings of a simulated Betaflight, entered in its command line as a user does in the Configurator."""

from __future__ import annotations

import socket
from pathlib import Path
from time import monotonic

from metarl_robot.core.signals import State
from metarl_robot.sim.quadrotor.betaflight.firmware import Firmware, FirmwareError

_PORT = ("127.0.0.1", 5761)
_PATIENCE, _PATIENCE_S, _ENTRIES = 20000, 20.0, 5
"""Steps and real time until an answer is missing: a thread of the firmware's reads the line, late on a busy machine."""
_ATTEMPTS = 3
_PROMPT = b"\r\n# "


def commission(folder: Path, settings: Path, at_rest: State) -> None:
    """Enter the lines of a file, one command each, and save; a firmware that starts in this folder has them.

    Arguments:
        folder: where the firmware runs. settings: text file; '#' begins a comment. at_rest: state meanwhile.

    Raises:
        FirmwareError: it does not start, refuses a line, or resets the connection again and again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            _commission(folder, settings, at_rest)
            return
        except ConnectionError as error:
            if attempt == _ATTEMPTS - 1:
                raise FirmwareError(f"Betaflight's command line at {_PORT[0]}:{_PORT[1]}: {error}") from error


def _commission(folder: Path, settings: Path, at_rest: State) -> None:
    with Firmware(folder) as firmware, socket.create_connection(_PORT, timeout=2.0) as line:
        line.setblocking(False)
        _enter(line, firmware, at_rest)
        for text in settings.read_text().splitlines():
            command = text.split("#")[0].strip()
            if not command:
                continue
            answer = _say(line, command.encode() + b"\n", firmware, at_rest)
            if b"###ERROR" in answer:
                raise FirmwareError(f"{settings}: Betaflight refuses '{command}': {answer.decode('ascii', 'replace')}")
        line.sendall(b"save\n")
        for _ in range(_PATIENCE):
            try:
                firmware.step(at_rest)
            except FirmwareError:
                break  # it saved and ended


def _enter(line: socket.socket, firmware: Firmware, at_rest: State) -> None:
    """Enter the command line; a firmware that still starts ignores the first requests."""
    for _ in range(_ENTRIES - 1):
        try:
            _say(line, b"#", firmware, at_rest, 1.0 / _ENTRIES)
        except FirmwareError:
            continue
        return
    _say(line, b"#", firmware, at_rest)


def _say(line: socket.socket, data: bytes, firmware: Firmware, at_rest: State, patience: float = 1.0) -> bytes:
    """Send, and run until the prompt comes back. patience: share of the full one."""
    line.sendall(data)
    answer, steps, until_s = b"", 0, monotonic() + patience * _PATIENCE_S
    while steps < patience * _PATIENCE or monotonic() < until_s:
        steps += 1
        firmware.step(at_rest)
        try:
            answer += line.recv(65536)
        except BlockingIOError:
            continue
        if answer.endswith(_PROMPT):
            return answer
    raise FirmwareError(f"Betaflight's command line does not answer {data!r}: {answer!r}")
