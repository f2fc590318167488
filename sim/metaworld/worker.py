# SPDX-License-Identifier: Apache-2.0
"""Steps Meta-World's environments for another process: a script for the Python of `make metaworld`, alone.

It imports nothing of this package. Messages on standard input and output have one form: a letter, the length of the
payload as an unsigned 32-bit number, the payload. Numbers are little-endian, reals are of 64 bits. The worker first
sends H; then each message gets one answer with the same letter, or E with a text.

    H                                     JSON {"metaworld", "mujoco", "reward"}: versions
    T   JSON [benchmark, seed]            JSON {"train", "test"}: each a list of [environment, [numbers of the goal]]
    O   JSON [group, [[environment, [numbers of the goal]], ...]]
                                          JSON {"low", "high"}: bounds of the observations of the group of environments
    R   group                             observations (n, k)
    S   group, actions (n, 4)             observations, then reward and success, 0 or 1, (n, k + 2)
    C   group                             empty; the next group that is opened takes over its environments

benchmark: "ML10", or the name of an environment for its ML1. group: any unsigned 32-bit number. The worker ends with
its standard input, which ends with its parent. What libraries print goes to standard error.
"""

from __future__ import annotations

import copy
import json
import os
import pickle  # noqa: TID251 - the form of Meta-World's own tasks
import signal
import struct
import sys
import threading
import time
from importlib.metadata import version
from typing import Any

import metaworld
import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.types import Task

REWARD = "v2"
HEADER = struct.Struct("<cI")
GROUP = struct.Struct("<I")
_LOOK_S = 1.0


class Server:
    """Environments in groups; those of closed groups by name, for the next one: each takes 25 MB."""

    def __init__(self) -> None:
        self._groups: dict[int, list[tuple[str, Any]]] = {}
        self._free: dict[str, list[Any]] = {}

    def answer(self, letter: bytes, payload: bytes) -> bytes:
        """The payload of the answer to a message."""
        handle = {b"T": self._tasks, b"O": self._open, b"R": self._reset, b"S": self._step, b"C": self._close}
        return handle[letter](payload)

    def _tasks(self, payload: bytes) -> bytes:
        name, seed = json.loads(payload)
        benchmark = metaworld.ML10(seed=seed) if name == "ML10" else metaworld.ML1(name, seed=seed)
        splits = {"train": benchmark.train_tasks, "test": benchmark.test_tasks}
        return json.dumps({split: [_goal(task) for task in tasks] for split, tasks in splits.items()}).encode()

    def _open(self, payload: bytes) -> bytes:
        group, tasks = json.loads(payload)
        envs = []
        for name, numbers in tasks:
            free = self._free.setdefault(name, [])
            env = free.pop() if free else ALL_V3_ENVIRONMENTS[name](reward_function_version=REWARD)
            data = {"env_cls": type(env), "rand_vec": np.array(numbers), "partially_observable": True}
            env.set_task(Task(env_name=name, data=pickle.dumps(data)))
            envs.append((name, env))
        self._groups[group], self._free = envs, {}
        space = envs[0][1].observation_space
        return json.dumps({"low": space.low.tolist(), "high": space.high.tolist()}).encode()

    def _reset(self, payload: bytes) -> bytes:
        envs = self._groups[GROUP.unpack(payload)[0]]
        return np.array([env.reset()[0] for _, env in envs], dtype="<f8").tobytes()

    def _step(self, payload: bytes) -> bytes:
        envs = self._groups[GROUP.unpack(payload[: GROUP.size])[0]]
        actions = np.frombuffer(payload, dtype="<f8", offset=GROUP.size).reshape(len(envs), -1)
        rows = []
        for (_, env), action in zip(envs, actions, strict=True):
            seen, reward, _, _, info = env.step(action.astype(np.float32))
            rows.append(np.concatenate([seen, [reward, float(info["success"])]]))
        return np.array(rows, dtype="<f8").tobytes()

    def _close(self, payload: bytes) -> bytes:
        for name, env in self._groups.pop(GROUP.unpack(payload)[0]):
            self._free.setdefault(name, []).append(env)
        return b""


def _goal(task: Any) -> list[Any]:
    """[environment, numbers of the goal]: all that tells a task from others of the environment."""
    data = pickle.loads(task.data)  # noqa: S301 - made by Meta-World in this process
    numbers = data.pop("rand_vec").tolist()
    if set(data) != {"env_cls", "partially_observable"}:
        raise ValueError(f"{task.env_name}: tasks with settings that are not known here: {sorted(data)}")
    return [task.env_name, numbers]


def _keep_models() -> None:
    """Read and compile each model once; further environments copy it, because they change theirs."""
    read: Any = mujoco.MjModel.from_xml_path
    kept: dict[str, Any] = {}

    def from_xml_path(path: str) -> Any:
        if path not in kept:
            kept[path] = read(path)
        return copy.copy(kept[path])

    mujoco.MjModel.from_xml_path = from_xml_path


def _end_with_the_parent() -> None:
    """Also where another process holds the other end of standard input, or a step does not end."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Answer messages until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _end_with_the_parent()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    _keep_models()
    server, requests = Server(), sys.stdin.buffer

    def send(letter: bytes, payload: bytes) -> None:
        answers.write(HEADER.pack(letter, len(payload)) + payload)
        answers.flush()

    versions = {name: version(name) for name in ("metaworld", "mujoco")}
    send(b"H", json.dumps({**versions, "reward": REWARD}).encode())
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        letter, size = HEADER.unpack(header)
        payload = requests.read(size)
        try:
            send(letter, server.answer(letter, payload))
        except BrokenPipeError:
            return
        except Exception as error:  # anything that an environment raises
            send(b"E", f"{type(error).__name__}: {error}".encode())


if __name__ == "__main__":
    main()
