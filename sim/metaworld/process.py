# SPDX-License-Identifier: Apache-2.0
"""A worker process in Meta-World's environment, and the messages to it (worker.py)."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarl_robot.core.errors import MetaRLError, shortened
from metarl_robot.sim.metaworld.location import REWARD, VERSION, environment, missing

_HEADER = struct.Struct("<cI")
"""As in worker.py, which cannot be imported here."""
_SCRIPT = Path(__file__).with_name("worker.py")
_LAST_WORDS = 300


class MetaWorldError(MetaRLError):
    """Meta-World is not installed, or a worker process of it failed."""

    bad_input = False


class Worker:
    """A running worker; close it.

    Arguments:
        command: starts it; default: worker.py in the environment of `make metaworld`.

    Raises:
        MetaWorldError: there is no such environment, or it has another version.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        if command is None:
            if missing():
                raise MetaWorldError(missing())
            command = [str(environment() / "bin" / "python"), "-I", str(_SCRIPT)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=_environment_variables()
        )
        versions = json.loads(self.answer(b"H"))
        if (versions["metaworld"], versions["reward"]) != (VERSION, REWARD):
            self.close()
            raise MetaWorldError(
                f"{environment()} holds Meta-World {versions['metaworld']}; expected: {VERSION}. Remove that folder, "
                "then run `make metaworld`"
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, letter: bytes, payload: bytes) -> None:
        """Send a message; `answer` must follow."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_HEADER.pack(letter, len(payload)) + payload)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: closed
            raise self._stopped() from None

    def answer(self, letter: bytes) -> bytes:
        """The payload of the answer to a message.

        Raises:
            MetaWorldError: the worker stopped, or reports an error.
        """
        header = self._read(_HEADER.size)
        found, size = _HEADER.unpack(header)
        payload = self._read(size)
        if found == b"E":
            raise MetaWorldError(f"Meta-World: {shortened(payload.decode(errors='replace'))}")
        if found != letter:
            raise MetaWorldError(
                f"a worker of Meta-World answers {found!r} to {letter!r}: its messages are out of step"
            )
        return payload

    def ask(self, letter: bytes, content: Any) -> Any:
        """Send JSON and return the answer's."""
        self.send(letter, json.dumps(content).encode())
        return json.loads(self.answer(letter))

    def close(self) -> None:
        """End the process; also a second time."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        content = b"" if self._process.stdout.closed else self._process.stdout.read(size)
        if len(content) < size:
            raise self._stopped()
        return content

    def _stopped(self) -> MetaWorldError:
        if self._process.stdout is not None and self._process.stdout.closed:
            return MetaWorldError("a worker process of Meta-World is used after its end")
        status = self._process.wait()
        self._said.seek(0)
        words = " ".join(self._said.read().decode(errors="replace").split())[-_LAST_WORDS:]
        self.close()
        said = f"; it said last: {words}" if words else ""
        return MetaWorldError(
            f"a worker process of Meta-World stopped with status {status}{said}. Start again; a training goes on with "
            "--resume"
        )


def _environment_variables() -> dict[str, str]:
    """Ours without those that lead Python to other packages; one thread for each worker."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "OMP_NUM_THREADS": "1"}
