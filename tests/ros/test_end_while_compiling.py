# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM end the mpc node while a compiler runs at its start, and the compiler with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.compile import code_cache

STALLED = """#!/bin/sh
echo $$ >> {pids}
sleep 3000 &
echo $! >> {pids}
wait
"""
PATIENT_S = 120.0  # before giving up; never part of a verdict
NODE = ("-m", "metarl_robot.ros_nodes.mpc", "--ros-args", "-p", "robot:=planar2")


def wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = monotonic() + PATIENT_S
    while not condition():
        assert monotonic() < until and process.poll() is None, "waited in vain"
        sleep(0.01)


def start(cache: Path, **variables: str) -> subprocess.Popen[str]:
    """The node with an empty cache; SIGINT is not ignored, as it is in a shell's background jobs."""
    return subprocess.Popen(
        [sys.executable, *NODE],
        env={**node_environment(), "METARL_CACHE": str(cache), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(process: int) -> dict[int, str]:
    """Process ids and names of a process's children, and theirs."""
    found: dict[int, str] = {}
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            try:
                found |= {child: Path(f"/proc/{child}/comm").read_text().strip(), **descendants(child)}
            except FileNotFoundError:
                continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_compiler_that_never_ends_does_not_hold_the_node(number: signal.Signals, tmp_path: Path) -> None:
    compiler, pids, cache = tmp_path / "cc", tmp_path / "pids", tmp_path / "cache"
    compiler.write_text(STALLED.format(pids=pids))
    compiler.chmod(0o755)
    node = start(cache, CC=str(compiler), TMPDIR=str(tmp_path))
    wait(lambda: pids.is_file() and len(pids.read_text().split()) >= 2, node)
    node.send_signal(number)
    said = node.communicate(timeout=PATIENT_S)[0]
    assert node.returncode == 0 and "Traceback" not in said and "error" not in said.lower(), said
    assert not any(map(lives, map(int, pids.read_text().split())))
    assert not list(cache.glob("*.so")) and not list(tmp_path.glob("metarl_robot-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_real_compiler_is_ended_and_the_cache_stays_whole(number: signal.Signals, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    node = start(cache, TMPDIR=str(tmp_path))
    wait(lambda: "cc1" in descendants(node.pid).values(), node)
    compilers = descendants(node.pid)
    node.send_signal(number)
    said = node.communicate(timeout=PATIENT_S)[0]
    assert node.returncode == 0 and "Traceback" not in said and "error" not in said.lower(), said
    assert not any(map(lives, compilers))
    kept = list(cache.glob("*.so"))
    assert all(code_cache.find(cache, path.stem.partition("-")[0]) == path for path in kept)
    assert not [path for path in tmp_path.iterdir() if path != cache], os.listdir(tmp_path)
