# SPDX-License-Identifier: Apache-2.0
"""The parsers: for each its valid inputs and its reader. A reader may raise MetaRLError and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import typer.main

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import MODELS_DIR, load_robot
from tests.fuzz import messages
from tests.fuzz.mutations import mutated, word
from tests.fuzz.recordings import damaged

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MESSAGE = 12_000

Case = Callable[[Random, Path], Callable[[], object]]


class DefectError(AssertionError):
    """A behaviour that no parser may show."""


@dataclass(frozen=True)
class Parser:
    """case: makes an input in a folder and returns its reader. share: of the inputs of a campaign."""

    name: str
    case: Case
    share: int = 1


@cache
def _seeds(*patterns: str) -> list[bytes]:
    return [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def _robot_yaml(random: Random, folder: Path) -> Callable[[], object]:
    (folder / "robot.yaml").write_bytes(mutated(random, _seeds("models/*/robot.yaml"), tree=True))
    shutil.copyfile(MODELS_DIR / random.choice(("panda", "planar2")) / "robot.xml", folder / "robot.xml")
    check = random.random() < 0.5

    def read() -> None:
        robot = load_robot(folder, check_model=check)
        if check:
            _ = robot.mj_model

    return read


def _robot_xml(random: Random, folder: Path) -> Callable[[], object]:
    name = random.choice(("panda", "planar2"))
    shutil.copyfile(MODELS_DIR / name / "robot.yaml", folder / "robot.yaml")
    (folder / "robot.xml").write_bytes(mutated(random, _seeds(f"models/{name}/robot.xml"), tree=False))
    return lambda: load_robot(folder)


def _own_file(random: Random, folder: Path) -> Callable[[], object]:
    """A user's URDF or MJCF, made into a robot folder."""
    from metarl_robot.robots.new_robot.folder import write_folder
    from metarl_robot.robots.new_robot.made import convert
    from metarl_robot.robots.new_robot.options import Options
    from tests.robot_files import urdf, with_gripper

    file = folder / "source.xml"
    file.write_bytes(mutated(random, [random.choice((urdf, with_gripper))().encode()], tree=False))

    def read() -> None:
        shutil.rmtree(folder / "made", ignore_errors=True)
        write_folder(folder / "made", convert("arm", file, "made", Options()).files, load_robot)

    return read


def _checkpoint(random: Random, folder: Path) -> Callable[[], object]:
    from metarl_robot.core.checkpoint import load_checkpoint

    source = (
        MODELS_DIR
        / random.choice(("planar2", "x500"))
        / random.choice(("dynamics.safetensors", "dynamics_maml.safetensors"))
    )
    source = source if source.is_file() else MODELS_DIR / "planar2" / "dynamics.safetensors"
    weights, record = source.read_bytes(), source.with_suffix(".json").read_bytes()
    if random.random() < 0.5:
        weights = mutated(random, [weights[:20_000]], tree=False) + weights[20_000:]
        content = json.loads(record)
        record = json.dumps({**content, "sha256": hashlib.sha256(weights).hexdigest()}).encode()
    else:
        record = mutated(random, [record], tree=True)
    (folder / "dynamics.safetensors").write_bytes(weights)
    (folder / "dynamics.json").write_bytes(record)
    robot = load_robot(source.parent.name, check_model=False) if random.random() < 0.5 else None
    return lambda: load_checkpoint(folder / "dynamics.safetensors", robot)


def _launch_file(random: Random, folder: Path) -> Callable[[], object]:
    from metarl_robot.cli.launch import show_args
    from metarl_robot.cli.launch_file import evaluate

    path = folder / "test.launch.yaml"
    path.write_bytes(mutated(random, _seeds("launch/*.launch.yaml"), tree=True))
    arguments = {
        random.choice(("robot", "seed", "record", "params", "x")): word(random) for _ in range(random.randrange(3))
    }

    def read() -> None:
        evaluate(path, arguments)
        show_args(path)

    return read


def _parameter_file(random: Random, folder: Path) -> Callable[[], object]:
    from metarl_robot.control.factory import load_config
    from metarl_robot.ros_nodes.gate import shipped

    name = random.choice(("gate", "pid", "meta_mpc", "nominal_mpc", "computed_torque"))
    for file in ("robot.yaml", "robot.xml"):
        shutil.copyfile(MODELS_DIR / "planar2" / file, folder / file)
    (folder / "config").mkdir(exist_ok=True)
    path = folder / "config" / f"{name}.yaml"
    path.write_bytes(mutated(random, _seeds(f"models/*/config/{name}.yaml"), tree=True))
    robot = load_robot(folder, check_model=False)
    return (lambda: shipped(robot)) if name == "gate" else (lambda: load_config(robot, name))


@cache
def _timelines(name: str) -> list[bytes]:
    """One valid task file for each scenario of both suites."""
    from metarl_robot.sim.kinds import simulation

    simulated = simulation(load_robot(name, check_model=False))
    scenarios = (
        simulated.scenario(suite, scenario, 0)
        for suite in ("heldout", "train")
        for scenario in simulated.scenario_names(suite)
    )
    return [_timeline([scenario.initial, *(task for _, task in scenario.changes)]) for scenario in scenarios]


def _timeline(tasks: list[Any]) -> bytes:
    changes = [{"time_s": 1.0 + k, "task": task.to_dict()} for k, task in enumerate(tasks)]
    return json.dumps({"initial": tasks[0].to_dict(), "changes": changes}, indent=1).encode()


def _task_file(random: Random, folder: Path) -> Callable[[], object]:
    from metarl_robot.ros_nodes.timeline import TimelineParameters, timeline
    from metarl_robot.sim.task_settings import TaskSettings

    robot = load_robot(random.choice(("planar2", "x500")), check_model=False)
    (folder / "task.json").write_bytes(mutated(random, _timelines(robot.name), tree=True))
    return lambda: timeline(robot, TimelineParameters(task_file=str(folder / "task.json")), TaskSettings())


def _mcap(random: Random, folder: Path) -> Callable[[], object]:
    from metarl_robot.cli.recording import read_runs
    from metarl_robot.cli.run_metrics import result_of

    (folder / "run.mcap").write_bytes(damaged(random, mutated))

    def read() -> None:
        for log in read_runs([folder / "run.mcap"]):
            result_of(log, "recording", seed=0)

    return read


def _message(random: Random, folder: Path) -> Callable[[], object]:
    return messages.case(random)


_COMMANDS = (
    ("info", "panda"),
    ("info", "nowhere.safetensors", "--adapter", "maml"),
    ("robots", "--json"),
    ("launch", "arm", "robot:=panda", "-s"),
    ("plot", "/nowhere", "--figure", "payload"),
    ("--debug", "--version"),
    ("train", "--help"),
    ("eval", "planar2", "--seeds", "1", "--suite", "nominal", "--jobs", "1"),
    ("train", "planar2", "--tasks", "20", "--steps", "1", "--groups", "a,b"),
    ("demo", "planar2", "--set", "payload_mass_kg=1", "--set", "payload_com_m=0,0,0", "--duration", "8"),
    ("demo", "planar2", "--payload-mass", "1", "--payload-offset", "0,0,0", "--duration", "8"),
    ("bench", "mpc,model", "--quick"),
)
_ENDINGS = {
    "eval": ("--controllers", "none"),
    "train": ("--adapter", "none"),
    "demo": ("--controllers", "none"),
    "bench": ("--none", "--none"),  # an option before them may take the first as its value
}
_STARTERS = {"launch", "eval", "train", "demo", "bench"}
"""Commands that would begin to work: they are given an option that they refuse in the end."""


def _command_line(random: Random, folder: Path) -> Callable[[], object]:
    words = list(random.choice(_COMMANDS))
    command = words[0]
    for _ in range(random.randrange(4)):
        i = random.randrange(len(words) + 1)
        if random.random() < 0.5 and i < len(words):
            words[i] = word(random)
        else:
            words.insert(
                i, random.choice((word(random), "--json", "-", "--out", "--", "--help", "x:=y", "robot:=x500"))
            )
    words = [text.replace("\0", "").replace("/etc", "/nowhere") for text in words]
    if command in _STARTERS or words[0] in _STARTERS or any(text in _STARTERS for text in words):
        words = [command, *words[1:]]
    words = [text for text in words if text not in ("--", "--debug", "--prediction")]
    ending = _ENDINGS.get(words[0] if words else "", ())
    return lambda: _run([*words, *(("-s",) if "launch" in words else ()), *ending], folder)


_get_command = cache(typer.main.get_command)


def _run(words: list[str], folder: Path) -> None:
    from metarl_robot.cli.app import main

    typer.main.get_command = _get_command  # built once, not for each input
    said, before = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict", write_through=True), sys.argv
    sys.argv = ["metarl", *words]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.chdir(folder):
            main()
    except SystemExit as end:
        if end.code not in (0, 1, 2, None):
            raise DefectError(f"exit code {end.code}: {said.buffer.getvalue()[-2000:]!r}") from end  # type: ignore[attr-defined]
    finally:
        sys.argv = before


PARSERS = (
    Parser("robot.yaml", _robot_yaml, 15),
    Parser("robot.xml", _robot_xml, 15),
    Parser("own file", _own_file, 10),
    Parser("checkpoint", _checkpoint, 10),
    Parser("launch file", _launch_file, 10),
    Parser("parameter file", _parameter_file, 15),
    Parser("task file", _task_file, 10),
    Parser("MCAP", _mcap, 5),
    Parser("message", _message, 15),
    Parser("command line", _command_line, 5),
)


def check(read: Callable[[], object]) -> str:
    """Result of an input: 'read' or 'refused'. Anything but a MetaRLError, or a message without bound, is raised."""
    try:
        read()
    except MetaRLError as error:
        if not str(error) or len(str(error)) > LONGEST_MESSAGE:
            raise DefectError(f"a message of {len(str(error))} characters: {str(error)[:300]}") from error
        return "refused"
    return "read"
