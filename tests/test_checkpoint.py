# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: read as written; anything damaged, foreign or executable is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import pickle  # noqa: TID251 (made here to be refused)
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from metarl_robot.core.atomic import file_name
from metarl_robot.core.checkpoint import default_checkpoint, load_checkpoint, save_checkpoint
from metarl_robot.core.errors import CheckpointError, MetaRLError
from metarl_robot.core.robot import load_robot

SHIPPED = load_checkpoint(default_checkpoint(load_robot("planar2")))
TENSORS = dict(sorted(SHIPPED.tensors.items()))  # pytest-xdist needs one order in all workers
RECORD = {key: SHIPPED.meta[key] for key in ("features", "context_names", "config")}


def rewrite(path: Path, content: bytes, **changed: Any) -> None:
    """Other weights under their right hash, and other entries of the record."""
    record = path.with_suffix(".json")
    sha256 = hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": sha256, **changed}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "dynamics.safetensors"
    save_checkpoint(file, load_robot("planar2"), "last_layer", TENSORS, {**RECORD, "seed": 7})
    return file


def test_round_trip(path: Path) -> None:
    checkpoint = load_checkpoint(path, load_robot("planar2"))
    assert checkpoint.tensors.keys() == TENSORS.keys()
    assert all(np.array_equal(checkpoint.tensors[name], TENSORS[name]) for name in TENSORS)
    assert (checkpoint.adapter, checkpoint.meta["seed"]) == ("last_layer", 7)


def test_truncated_altered_and_missing_are_refused(path: Path) -> None:
    content = path.read_bytes()
    for damaged in (content[:-4], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="SHA-256"):
            load_checkpoint(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="metarl train planar2"):
        load_checkpoint(path, load_robot("planar2"))


def test_another_robots_weights_are_refused(path: Path) -> None:
    with pytest.raises(CheckpointError, match="trained for robot 'planar2'"):
        load_checkpoint(path, load_robot("panda"))


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    for name in ("weights.pkl", "weights.pt"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(CheckpointError, match="refused"):
            load_checkpoint(tmp_path / name)
    disguised = tmp_path / "weights.safetensors"
    disguised.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        load_checkpoint(disguised)
    assert not marker.exists()


def test_record_must_be_complete_and_of_a_known_format(path: Path) -> None:
    record = path.with_suffix(".json")
    meta = json.loads(record.read_text())
    record.write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(path)
    del meta["sha256"]
    record.write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="sha256"):
        load_checkpoint(path)


def with_value(name: str, value: float) -> bytes:
    changed = TENSORS[name].copy()
    changed.flat[-1] = value
    return save({**TENSORS, name: changed})


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(path: Path, name: str, value: float) -> None:
    rewrite(path, with_value(name, value))
    with pytest.raises(CheckpointError, match=f"{name}.*not finite"):
        load_checkpoint(path, load_robot("planar2"))


@pytest.mark.parametrize("name", TENSORS)
def test_missing_and_mis_shaped_tensors_are_refused(path: Path, name: str) -> None:
    others = {other: tensor for other, tensor in TENSORS.items() if other != name}
    expected = str(TENSORS[name].shape).replace("(", r"\(").replace(")", r"\)")
    for given in (None, TENSORS[name][:-1], np.stack([TENSORS[name]] * 2), np.zeros((0, 2**40))):
        rewrite(path, save(others if given is None else {**others, name: given}))
        with pytest.raises(CheckpointError, match=f"'{name}'.*expected: .*{expected}"):
            load_checkpoint(path, load_robot("planar2"))


def test_a_covariance_that_is_none_and_levels_that_are_not_positive_are_refused(path: Path) -> None:
    lopsided = TENSORS["prior_covariance"].copy()
    lopsided[0, 1] += 1.0
    wrong = (with_value("prior_covariance", -1.0), save({**TENSORS, "prior_covariance": lopsided}))
    for content in (*wrong, with_value("error_nm", 0.0)):
        rewrite(path, content)
        with pytest.raises(CheckpointError, match="positive"):
            load_checkpoint(path)


def safetensors_file(header: bytes, data: bytes = b"", size: int | None = None) -> bytes:
    return (len(header) if size is None else size).to_bytes(8, "little") + header + data


@pytest.mark.parametrize("dtype", ["BF16", "F16", "I64", "BOOL", "F8_E4M3", 7])
def test_other_types_of_numbers_are_refused(path: Path, dtype: object) -> None:
    header = {"prior_mean": {"dtype": dtype, "shape": [1], "data_offsets": [0, 8]}}
    rewrite(path, safetensors_file(json.dumps(header).encode(), bytes(8)))
    with pytest.raises(CheckpointError, match="allowed: F64, F32"):
        load_checkpoint(path)


DEEP = b"[" * 100_000
ENTRY = b'{"dtype":"F64","shape":[1],"data_offsets":[0,8]}'
NUMBER = b"9" * 5000
HEADERS = (
    b'{"a":' + DEEP,
    b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}",
    ENTRY.replace(b"[1]", b"[" + NUMBER + b"]").join((b'{"a":', b"}")),
    ENTRY.replace(b"[1]", b"[-1]").join((b'{"a":', b"}")),
    b"{" + b" " * 2**21 + b"}",
    b"[]",
    b'{"a":3}',
    b"\xff\xfe",
)
NO_HEADERS = (b"", b"\1", safetensors_file(b"{}", size=2**63), safetensors_file(b"{}", size=0))


@pytest.mark.parametrize("content", [*NO_HEADERS, *(safetensors_file(header, bytes(8)) for header in HEADERS)])
def test_a_wrong_header_is_refused_in_few_words(path: Path, content: bytes) -> None:
    rewrite(path, content)
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(path)
    assert str(path) in str(refused.value) and len(str(refused.value)) < 500 + len(str(path))


RECORDS = (
    b"",
    b"[]",
    b"3",
    b"\xff",
    DEEP,
    b'{"format": 1, "format": 1}',
    b'{"format": ' + NUMBER + b"}",
    b'{"' + b"x" * 5_000_000 + b'": 1}',
)


@pytest.mark.parametrize("text", RECORDS, ids=range(len(RECORDS)))
def test_a_wrong_record_is_refused_in_few_words(path: Path, text: bytes) -> None:
    path.with_suffix(".json").write_bytes(text)
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(path)
    assert "dynamics.json" in str(refused.value)
    assert len(str(refused.value)) < 500 + len(str(path))


WRONG = (None, 3, [], {}, [3], "", "x" * 10_000, {"a": [1]}, np.nan, [["a"]], ["a", "a"])
KEYS = ("format", "robot", "joint_names", "adapter", "sha256", "features", "context_names")


@pytest.mark.parametrize("key", KEYS)
def test_values_of_wrong_types_in_the_record_are_refused(path: Path, key: str) -> None:
    record = path.with_suffix(".json")
    meta = json.loads(record.read_text())
    for value in WRONG:
        if (key, value) == ("features", []):  # a model without features is one
            continue
        record.write_text(json.dumps({**meta, key: value}))
        with pytest.raises(CheckpointError) as refused:
            load_checkpoint(path, load_robot("planar2"))
        assert len(str(refused.value)) < 700 + len(str(path))


@pytest.mark.parametrize("hidden", [3, "ab", [0], [64.0], [None], [[64]]])
def test_hidden_widths_of_a_wrong_type_are_refused(path: Path, hidden: object) -> None:
    rewrite(path, path.read_bytes(), config={"hidden": hidden})
    with pytest.raises(CheckpointError, match=r"config\.hidden"):
        load_checkpoint(path)


@pytest.mark.parametrize("robot", ["panda", "planar2", "x500", "crazyflie", "hummingbird"])
@pytest.mark.parametrize("adapter", ["last_layer", "maml"])
def test_shipped_weights_are_accepted(robot: str, adapter: str) -> None:
    path = default_checkpoint(load_robot(robot), adapter)
    if path.is_file():
        assert load_checkpoint(path, load_robot(robot)).tensors.keys() == load_checkpoint(path).tensors.keys()


def test_weights_that_would_be_refused_are_not_written(path: Path) -> None:
    before = path.read_bytes()
    broken = {**TENSORS, "prior_mean": np.full_like(TENSORS["prior_mean"], np.nan)}
    with pytest.raises(CheckpointError, match="prior_mean"):
        save_checkpoint(path, load_robot("planar2"), "last_layer", broken, RECORD)
    assert path.read_bytes() == before
    assert load_checkpoint(path)


KILLED_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
from metarl_robot.core.checkpoint import default_checkpoint, load_checkpoint, save_checkpoint
from metarl_robot.core.robot import load_robot

path, robot = Path(sys.argv[1]), load_robot("planar2")
shipped = load_checkpoint(default_checkpoint(robot))
record = {key: shipped.meta[key] for key in ("features", "context_names", "config")}

def write(number):
    tensors = {**shipped.tensors, "error_nm": shipped.tensors["error_nm"] * number}
    save_checkpoint(path, robot, "last_layer", tensors, {**record, "number": number})

def loaded():
    found = load_checkpoint(path, robot)
    number = found.meta["number"]
    assert (found.tensors["error_nm"] == shipped.tensors["error_nm"] * number).all()
    return number

def killed_after(steps, number):
    # Whether a process that writes was killed, at the start of step `steps`.
    child = os.fork()
    if child == 0:
        left = steps
        def guarded(call):
            def step(*given, **named):
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*given, **named)
            return step
        for name in ("open", "fsync", "replace", "fdopen", "unlink"):
            setattr(os, name, guarded(getattr(os, name)))
        write(number)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

write(1)
old, steps = 1, 0
while killed_after(steps, old + 1):
    assert loaded() in (old, old + 1), (steps, loaded())
    again = 0
    while killed_after(again, old + 2):  # a second one, on the remains of the first
        assert loaded() in (old, old + 1, old + 2)
        again += 1
    assert loaded() == old + 2
    old, steps = old + 2, steps + 1
print(steps)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_step_leaves_a_pair_that_can_be_used(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(tmp_path / "dynamics.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 7


def test_a_first_checkpoint_that_was_not_finished_is_none(tmp_path: Path) -> None:
    (tmp_path / "dynamics.safetensors.next").write_bytes(save(TENSORS))
    with pytest.raises(CheckpointError, match="metarl train"):
        load_checkpoint(tmp_path / "dynamics.safetensors")


def test_a_writer_without_space_leaves_the_old_pair(path: Path) -> None:
    before = load_checkpoint(path)
    program = """
import resource, sys
from pathlib import Path
from metarl_robot.core.checkpoint import load_checkpoint, save_checkpoint
from metarl_robot.core.robot import load_robot
path = Path(sys.argv[1])
old = load_checkpoint(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
save_checkpoint(path, load_robot("planar2"), "last_layer", old.tensors, {**old.meta, "seed": 8})
"""
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "OSError" in done.stderr
    assert load_checkpoint(path).meta == before.meta
    assert {file.name for file in path.parent.iterdir()} == {path.name, "dynamics.json"}


NO_NAMES = ("", ".", "..", "../x", "a/b", "/etc", ".x", "-x", "a\\b", "c:x", "a\nb", "a\0b", "x" * 300)


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_cannot_lead_out_of_a_folder(name: str) -> None:
    with pytest.raises(MetaRLError, match="robot") as refused:
        file_name("robot", name)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["panda", "my arm", "x-500_v1.2", "Größe"])
def test_usual_names_are_names_of_files(name: str) -> None:
    assert file_name("robot", name) == name
