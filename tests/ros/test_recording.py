# SPDX-License-Identifier: Apache-2.0
"""Recordings are rosbag2 folders that other tools open, also after a kill or on a full disk."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Qos, QosDurability, QosReliability

from metarl_robot.cli.recording import RecordingError, read_messages
from metarl_robot.ros_nodes import whole_mcap
from metarl_robot.ros_nodes.recording import Recording

SHORT = 64  # bytes
TEXT, NUMBER = "std_msgs/msg/String", "std_msgs/msg/Float64"
DEFINITIONS = {TEXT: "string data\n", NUMBER: "float64 data\n"}
INFINITE = {"sec": 9223372036, "nsec": 854775807}
OFFERED = {
    "history": "keep_last",
    "depth": 1,
    "reliability": "reliable",
    "durability": "transient_local",
    "deadline": INFINITE,
    "lifespan": {"sec": 0, "nsec": 0},
    "liveliness": "automatic",
    "liveliness_lease_duration": INFINITE,
    "avoid_ros_namespace_conventions": False,
}


def text(value: str) -> bytes:
    return struct.pack("<4sI", b"\0\1\0\0", len(value) + 1) + value.encode() + b"\0"


def number(value: float) -> bytes:
    return struct.pack("<4sd", b"\0\1\0\0", value)


def started(path: Path) -> Recording:
    recording = Recording(path)
    recording.add_topic("/text", TEXT, DEFINITIONS[TEXT], [OFFERED])
    recording.add_topic("/number", NUMBER, DEFINITIONS[NUMBER])
    return recording


def filled(path: Path, count: int = 20_000) -> Recording:
    """A bag that is still open."""
    recording = started(path)
    for i in range(count):
        recording.write("/number", 1_000_000_000 + i, number(float(i)))
    recording.write("/text", 1_000_000_000 + count, text("the last"))
    return recording


def by_rosbags(folder: Path) -> dict[str, list[object]]:
    with AnyReader([folder]) as reader:
        found: dict[str, list[object]] = {connection.topic: [] for connection in reader.connections}
        for connection, _, data in reader.messages():
            found[connection.topic].append(reader.deserialize(data, connection.msgtype).data)
    return found


def by_us(path: Path) -> dict[str, list[object]]:
    found = read_messages(path, ("/text", "/number"))
    return {topic: [message.data for message in messages] for topic, messages in found.items()}


def test_a_finished_bag_is_read_alike_by_rosbags_and_by_us(tmp_path: Path) -> None:
    recording = filled(tmp_path / "bag")
    recording.close()
    expected = {"/text": ["the last"], "/number": [float(i) for i in range(20_000)]}
    assert by_us(tmp_path / "bag") == by_rosbags(tmp_path / "bag") == expected
    assert by_us(tmp_path / "bag" / "bag_0.mcap") == expected


def test_metadata_say_what_rosbag2_asks_for(tmp_path: Path) -> None:
    filled(tmp_path / "bag").close()
    with AnyReader([tmp_path / "bag"]) as reader:
        assert (reader.message_count, reader.start_time, reader.duration) == (20_001, 10**9, 20_001)
        topics = {connection.topic: connection for connection in reader.connections}
        assert {topic: c.msgcount for topic, c in topics.items()} == {"/text": 1, "/number": 20_000}
        (qos,) = topics["/text"].ext.offered_qos_profiles
    assert isinstance(qos, Qos)
    assert (qos.reliability, qos.durability) == (QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL)
    written = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())
    information = written["rosbag2_bagfile_information"]
    assert (information["version"], information["storage_identifier"]) == (9, "mcap")
    assert information["relative_file_paths"] == ["bag_0.mcap"]
    assert information["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"] == [OFFERED]


def test_a_path_that_ends_in_mcap_names_the_folder_without_it(tmp_path: Path) -> None:
    started(tmp_path / "run.mcap").close()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"metadata.yaml", "run_0.mcap"}


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tests_ros_recording import number, started
recording = started(Path(sys.argv[1]))
recording.flush()
for i in range(10**9):
    recording.write("/number", i, number(float(i)))
    if i % 10_000 == 0:
        recording.flush()
        print(i, flush=True)
"""


@pytest.mark.parametrize("written", [10_000, 30_000, 70_000])
def test_a_killed_recorder_leaves_a_bag_that_can_be_read(tmp_path: Path, written: int) -> None:
    (tmp_path / "tests_ros_recording.py").symlink_to(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path / "bag")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= written:
                break
        time.sleep(0.001 * (written % 7))
        process.send_signal(signal.SIGKILL)
    found = by_rosbags(tmp_path / "bag")
    assert found == by_us(tmp_path / "bag")
    assert found["/number"] == [float(i) for i in range(len(found["/number"]))]
    assert len(found["/number"]) > written - 5_000


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_kill_in_the_middle_of_a_write_leaves_what_was_written_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, close: bool
) -> None:
    """The only long write is that of new records, and is cut off after a share of its bytes."""
    recording = filled(tmp_path / "bag", 80_000)
    recording.flush()
    before = len(by_us(tmp_path / "bag")["/number"])
    assert before > 10_000
    made, write_at = [], whole_mcap._write_at

    def killed(file: int, data: bytes, place: int) -> None:
        made.append(len(data))
        if max(made) <= SHORT:
            write_at(file, data, place)
        elif made[-1] > SHORT:
            write_at(file, data[: int(share * len(data))], place)

    monkeypatch.setattr(whole_mcap, "_write_at", killed)
    if close:
        recording.close()
    else:
        for i in range(80_000, 1_000_000):
            recording.write("/number", 2_000_000_000 + i, number(float(i)))
            if made:
                break
    assert sum(size > SHORT for size in made) == 1
    found = by_rosbags(tmp_path / "bag")
    assert found["/number"] == by_us(tmp_path / "bag")["/number"] == [float(i) for i in range(before)]


def test_a_full_disk_ends_the_recording_and_what_was_written_can_be_read(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from tests_ros_recording import filled
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
recording = filled(Path(sys.argv[1]), 200_000)
recording.close()
print(recording.failure, recording.dropped > 1000, recording.messages > 5_000)
"""
    (tmp_path / "tests_ros_recording.py").symlink_to(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", program, str(tmp_path / "bag")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout == f"{tmp_path / 'bag'}: File too large True True\n", done.stderr
    found = by_rosbags(tmp_path / "bag")
    assert found == by_us(tmp_path / "bag")
    assert len(found["/number"]) > 3_000


def test_a_place_that_cannot_be_written_is_a_failure_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "bag", Path("/proc/no/bag")):
        recording = filled(path, 10)
        recording.flush()
        recording.close()
        assert str(path) in recording.failure
        assert (recording.messages, recording.dropped) == (0, 11)


def test_what_precedes_a_damage_is_read(tmp_path: Path) -> None:
    numbers = [float(x) for x in np.random.default_rng(0).standard_normal(6000)]
    recording = started(tmp_path / "bag")
    for i, value in enumerate(numbers):
        recording.write("/number", i, number(value))
    recording.close()
    file = tmp_path / "bag" / "bag_0.mcap"
    whole = file.read_bytes()
    channel = b"\x04" + (60).to_bytes(8, "little") + b"\xff" * 91
    lost = 0
    for place in range(len(whole) // 3, len(whole), len(whole) // 5):
        for garbage in (b"\xff" * 100, bytes(100), channel):
            file.write_bytes(whole[:place] + garbage + whole[place + 100 :])
            found = by_us(tmp_path / "bag")["/number"]
            assert found and found == numbers[: len(found)]
            lost += len(found) < len(numbers)
    assert lost >= 3  # elsewhere it hits an index that is not needed


@pytest.mark.parametrize("place", range(8, 400, 7))
def test_a_damaged_beginning_is_an_error_of_one_paragraph_or_does_not_matter(tmp_path: Path, place: int) -> None:
    filled(tmp_path / "bag", 10).close()
    file = tmp_path / "bag" / "bag_0.mcap"
    content = bytearray(file.read_bytes())
    content[place : place + 7] = b"\xff" * 7
    file.write_bytes(content)
    try:
        by_us(tmp_path / "bag")
    except RecordingError as refused:
        assert str(file) in str(refused) and "\n" not in str(refused) and len(str(refused)) < 500


@pytest.mark.parametrize("present", [(), ("a_0.mcap", "a_1.mcap")])
def test_a_folder_without_one_recording_is_refused(tmp_path: Path, present: tuple[str, ...]) -> None:
    for name in present:
        (tmp_path / name).touch()
    with pytest.raises(RecordingError, match="no such recording"):
        read_messages(tmp_path, ("/text",))
