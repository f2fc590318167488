"""Checkpoints: what is written is read; anything damaged, foreign or executable is refused with the reason."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 (made here to be refused)
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.checkpoint import load_checkpoint, save_checkpoint
from metarl_robot.errors import CheckpointError
from metarl_robot.robot import load_robot


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "dynamics.safetensors"
    save_checkpoint(file, load_robot("planar2"), "last_layer", {"prior_mean": np.arange(3.0)}, {"seed": 7})
    return file


def test_round_trip(path: Path) -> None:
    checkpoint = load_checkpoint(path, load_robot("planar2"))
    assert np.array_equal(checkpoint.tensors["prior_mean"], np.arange(3.0))
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
