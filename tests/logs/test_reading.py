# SPDX-License-Identifier: Apache-2.0
"""Logs of every format give the same recording; what is broken is counted, what cannot be right is refused."""

from __future__ import annotations

import re
import shutil
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer

from metarl_robot.adaptation.factory import filter_tuning
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import MODELS_DIR, Robot, load_robot
from metarl_robot.logs import bag_signals
from metarl_robot.logs.bag_file import Bag
from metarl_robot.logs.cells import grid_of
from metarl_robot.logs.check import check
from metarl_robot.logs.joint_state import JointStateDecoder, decoded_block
from metarl_robot.logs.log_map import LogMap, TimeMap, read_map
from metarl_robot.logs.reading import nominal_gravity, read_log
from metarl_robot.logs.recording import LogError, Recording, Repair
from metarl_robot.logs.series import Series, rising
from metarl_robot.robots.arm.dynamics import ArmDynamics
from tests.logs.made_log import STORE, Made, default_names, write_bag, write_csv

ROBOT = load_robot("planar2")
PANDA = load_robot("panda")
JOINTS = ROBOT.channel_names


def made(robot: object = ROBOT, count: int = 400, period_s: float = 0.004) -> Made:
    """A smooth motion with consistent velocities and plausible efforts."""
    assert robot in (ROBOT, PANDA)
    time_s = period_s * np.arange(count)
    phase = 2.0 * np.pi * 0.7 * time_s[:, None] + np.arange(robot.dof)
    q, v = robot.home + 0.3 * np.sin(phase), 0.3 * 2.0 * np.pi * 0.7 * np.cos(phase)
    return Made(time_s, q, v, 0.1 * robot.effort_limit * np.sin(phase), joints=robot.channel_names)


def assert_same(recording: Recording, expected: Made, atol: float = 1e-9) -> None:
    assert recording.time_s == pytest.approx(expected.time_s - expected.time_s[0], abs=2e-9)
    for name in ("q", "v", "effort"):
        np.testing.assert_allclose(getattr(recording, name), getattr(expected, name), atol=atol)


def said(recording: Recording, words: str) -> int:
    """Count of the repair with these words."""
    found = [repair.count for repair in recording.repairs if words in repair.what]
    assert len(found) == 1, recording.repairs
    return found[0]


def test_a_table_with_our_names_needs_no_map(tmp_path: Path) -> None:
    log = made()
    path = write_csv(tmp_path / "log.csv", log, default_names(ROBOT), log.q, log.v, log.effort)
    recording = read_log(ROBOT, path)
    assert_same(recording, log)
    assert recording.repairs == () and recording.period_s == pytest.approx(0.004)


@pytest.mark.parametrize("mcap", [True, False], ids=["mcap", "sqlite3"])
def test_a_bag_needs_no_map_whatever_the_order_of_its_joints(tmp_path: Path, mcap: bool) -> None:
    log = made(PANDA, 100)
    folder = write_bag(tmp_path / "bag", log, mcap, order=[3, 0, 6, 1, 5, 2, 4], extra=("finger_1", "finger_2"))
    recording = read_log(PANDA, folder)
    assert_same(recording, log)
    assert said(recording, "ignored (finger_1, finger_2)") == 2
    (file,) = folder.glob("*.mcap" if mcap else "*.db3")
    assert_same(read_log(PANDA, file), log)
    (folder / "metadata.yaml").unlink()  # the recorder was killed
    assert_same(read_log(PANDA, folder), log)


@pytest.fixture
def endless(tmp_path: Path) -> Robot:
    """The shipped two-joint arm whose first joint turns without end."""
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    text = (tmp_path / "mine" / "robot.yaml").read_text()
    first = next(line for line in text.splitlines() if "name: shoulder" in line)
    turning = first.replace("[-3.0, 3.0]", "[-6.2, 6.2]").replace("}", ", endless: true}")
    (tmp_path / "mine" / "robot.yaml").write_text(text.replace(first, turning))
    return load_robot(tmp_path / "mine", check_model=False)


def test_wrapped_angles_are_continued_and_said(tmp_path: Path, endless: Robot) -> None:
    time_s = 0.004 * np.arange(2000)
    q = np.column_stack([endless.home[0] + 2.5 * time_s, endless.home[1] + 0.1 * np.sin(time_s)])
    v = np.column_stack([np.full(2000, 2.5), 0.1 * np.cos(time_s)])
    log = Made(time_s, q, v, 0.1 * endless.effort_limit * np.sin(q), joints=endless.channel_names)
    wrapped = replace(log, q=np.column_stack([(q[:, 0] + np.pi) % (2.0 * np.pi) - np.pi, q[:, 1]]))
    recording = read_log(endless, write_bag(tmp_path / "bag", wrapped))
    assert_same(recording, log)
    assert said(recording, f"within a turn ({endless.channel_names[0]}): continued") == 3
    without = read_log(endless, write_bag(tmp_path / "without", wrapped, velocity=False))
    np.testing.assert_allclose(without.v[3:], v[3:], atol=0.02)
    assert read_log(endless, write_bag(tmp_path / "continued", log)).repairs == ()


def test_a_filter_sees_no_stop_at_a_joint_that_turns_without_end(endless: Robot) -> None:
    stops = filter_tuning(endless, ArmDynamics(endless), AdapterTuning(20.0)).stops
    assert stops is not None and np.isinf(stops[:, 0]).all() and np.isfinite(stops[:, 1]).all()


def test_missing_velocities_are_differentiated_and_said(tmp_path: Path) -> None:
    log = made()
    recording = read_log(ROBOT, write_bag(tmp_path / "bag", log, velocity=False))
    assert said(recording, "positions differentiated") == len(log.q)
    late = np.roll(log.v, 1, axis=0)  # over two periods: one period late
    np.testing.assert_allclose(recording.v[3:], late[3:], atol=0.01)
    zero = Made(log.time_s, log.q, 0.0 * log.v, log.effort, joints=JOINTS)
    assert said(read_log(ROBOT, write_bag(tmp_path / "zero", zero)), "all zero while positions move") == len(log.q)
    path = write_csv(tmp_path / "log.csv", log, (*ROBOT.coordinates.q, *ROBOT.coordinates.effort), log.q, log.effort)
    np.testing.assert_allclose(read_log(ROBOT, path).v, recording.v, atol=1e-9)


def test_broken_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    log = made()
    q, time_s = log.q.copy(), log.time_s.copy()
    q[10, 0], time_s[20], time_s[30] = np.nan, 0.01, time_s[29]
    broken = Made(time_s, q, log.v, log.effort, joints=JOINTS)
    path = write_csv(tmp_path / "log.csv", broken, default_names(ROBOT), q, log.v, log.effort)
    lines = path.read_text().splitlines()
    lines[50] = "1.0,2.0"
    lines[60] = lines[60].replace("e", "x", 1)
    path.write_text("\n".join(lines)[:-30])  # the disk was full
    recording = read_log(ROBOT, path)
    assert said(recording, "no row of numbers") == 3
    assert said(recording, "positions that are not finite") == 1
    assert said(recording, "positions that are not later") == 2
    kept = np.delete(np.arange(400), [10, 20, 30, 49, 59, 399])
    assert_same(recording, Made(log.time_s[kept], log.q[kept], log.v[kept], log.effort[kept]))


@given(
    places=st.sets(st.integers(0, 4), max_size=5),
    offsets=st.lists(st.integers(3, 10**10).flatmap(lambda n: st.sampled_from([n, -n])), min_size=5, max_size=5),
    period_ns=st.sampled_from([1_000_000, 4_000_000]),
)
def test_a_wrong_stamp_costs_its_own_row(places: set[int], offsets: list[int], period_ns: int) -> None:
    stamps = np.arange(200, dtype=np.int64) * period_ns + 10**18
    wrong = [min(40 * place + 7, 199) if place else 0 for place in places]
    for row, place in zip(wrong, places, strict=True):
        stamps[row] += offsets[place] * period_ns // 2 * 2
    repairs: list[Repair] = []
    kept = rising(Series(stamps, np.arange(200.0)[:, None]), "position", repairs)
    rows = kept.values[:, 0].astype(int)
    assert set(range(200)) - set(wrong) <= set(rows) and (np.diff(kept.stamps_ns) > 0).all()
    assert sum(repair.count for repair in repairs) == 200 - len(rows)


@pytest.mark.parametrize("shift_s", [-1e-3, -0.5, -1e9, 1e9], ids=str)
def test_of_a_log_whose_clock_was_set_the_longest_part_is_kept(shift_s: float) -> None:
    stamps = np.arange(300, dtype=np.int64) * 1_000_000 + 10**18
    stamps[120:] += round(shift_s * 1e9) if shift_s != -1e-3 else -100_000_000
    repairs: list[Repair] = []
    kept = rising(Series(stamps, np.arange(300.0)[:, None]), "effort", repairs)
    assert kept.values[:, 0].tolist() == list(range(120, 300))
    assert [repair.count for repair in repairs] == [120]


def test_one_stamp_of_another_clock_neither_fills_the_memory_nor_ends_the_recording(tmp_path: Path) -> None:
    log = made()
    for row in (0, 200, 399):
        time_s = log.time_s.copy()
        time_s[row] = 1.7e9
        path = write_csv(
            tmp_path / "log.csv", replace(log, time_s=time_s), default_names(ROBOT), log.q, log.v, log.effort
        )
        recording = read_log(ROBOT, path)
        assert len(recording.time_s) == 399 and recording.duration_s < 2.0
    sparse = replace(recording, time_s=3000.0 * np.arange(399.0))
    with pytest.raises(LogError, match="nearly all of it is gaps"):
        grid_of(sparse, 0.0125, 0.05)


def test_two_robots_on_one_topic_are_refused(tmp_path: Path) -> None:
    log = made()
    q = log.q + np.where(np.arange(len(log.q))[:, None] % 2, 0.2, 0.0)
    path = write_csv(tmp_path / "log.csv", log, default_names(ROBOT), q, log.v, log.effort)
    with pytest.raises(LogError, match="leap in .* two robots on one topic"):
        read_log(ROBOT, path)


@pytest.mark.parametrize(("effort", "words"), [(0.0, "efforts are zero in all rows"), (np.nan, "and 0 efforts")])
def test_a_log_without_efforts_says_so(tmp_path: Path, effort: float, words: str) -> None:
    log = made()
    path = write_csv(tmp_path / "log.csv", log, default_names(ROBOT), log.q, log.v, log.effort * effort)
    with pytest.raises(LogError, match=words):
        read_log(ROBOT, path)


def test_rows_far_beyond_the_limits_are_left_out(tmp_path: Path) -> None:
    log = made()
    q, v, effort = log.q.copy(), log.v.copy(), log.effort.copy()
    q[100, 0], v[200, 1], effort[300, 0] = 1e9, -1e4, 1e5
    path = write_csv(tmp_path / "log.csv", log, default_names(ROBOT), q, v, effort)
    recording = read_log(ROBOT, path)
    assert said(recording, "far beyond the robot's limits") == 3
    kept = np.delete(np.arange(400), [100, 200, 300])
    assert_same(recording, Made(log.time_s[kept], log.q[kept], log.v[kept], log.effort[kept]))


def test_messages_of_wrong_length_and_of_other_joints_are_counted(tmp_path: Path) -> None:
    log = made()
    joint_state, header, time = (
        STORE.types[f"{name}"]
        for name in ("sensor_msgs/msg/JointState", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/joint_states", joint_state.__msgtype__, typestore=STORE)
        for k, stamp_s in enumerate(log.time_s):
            nanoseconds = round(1e9 * stamp_s)
            names = ["finger"] if k % 10 == 3 else list(JOINTS)
            size = 1 if k % 10 in (3, 7) else 2
            values = [np.ascontiguousarray(each[k, :size]) for each in (log.q, log.v, log.effort)]
            message = joint_state(header(time(0, nanoseconds), ""), names, *values)
            writer.write(connection, nanoseconds, STORE.serialize_cdr(message, joint_state.__msgtype__))
    recording = read_log(ROBOT, tmp_path / "bag")
    assert len(recording.q) == 320 and said(recording, "too few values") == 120  # three signals each
    assert said(recording, "without all joints") == 120


@pytest.mark.parametrize("kept", [0.97, 0.5])
def test_an_mcap_file_without_its_end_is_read_up_to_there(tmp_path: Path, kept: float) -> None:
    log = made(PANDA, 9000, 0.001)
    (file,) = write_bag(tmp_path / "bag", log).glob("*.mcap")
    raw = file.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(raw[: int(kept * len(raw))])
    recording = read_log(PANDA, cut)
    assert said(recording, "damaged, and read up to there") == 1
    count = len(recording.q)
    assert 0.2 * len(log.q) < count < len(log.q)
    assert_same(recording, Made(*(each[:count] for each in (log.time_s, log.q, log.v, log.effort))))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "is empty"),
        ("empty.mcap", b"", "cannot be read as a recording"),
        ("other.mcap", b"this is no recording" * 50, "expected a rosbag2 folder"),
        ("other.db3", b"this is no recording" * 50, "cannot be read as a recording"),
        ("cut.mcap", b"\x89MCAP0\r\n\x01", "cannot be read as a recording"),
        ("log.csv", b"time_s,a,b\n0,1,2\n", "unknown column 'shoulder/position_rad'"),
        ("words.txt", b"\xff\xfe\x00\x01 not a table", "unknown column 'time_s'"),
        ("binary.csv", b"time_s,\0\0\0\1", "no text in UTF-8; save it as CSV in UTF-8"),
        ("log.xlsx", b"PK", "ends in .mcap, .db3, .bag, .csv, .tsv, .txt"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LogError) as error:
        read_log(ROBOT, tmp_path / name)
    assert words in str(error.value) and name in str(error.value)


def test_what_is_missing_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="there is no such file"):
        read_log(ROBOT, tmp_path / "none.csv")
    with pytest.raises(LogError, match="no recording"):
        read_log(ROBOT, tmp_path)
    folder = write_bag(tmp_path / "bag", made(), topic="/arm/states")
    with pytest.raises(LogError, match="unknown topic '/joint_states'.*Valid: /arm/states"):
        read_log(ROBOT, folder)
    mapped = LogMap.model_validate({name: {"topic": "/arm/states"} for name in ("position", "velocity", "effort")})
    assert_same(read_log(ROBOT, folder, mapped), made())
    with pytest.raises(LogError, match="unknown field 'efort'.*effort"):
        read_log(
            ROBOT, folder, mapped.model_copy(update={"effort": mapped.effort.model_copy(update={"field": "efort"})})
        )


def test_joints_of_another_robot_are_refused_and_renamed_ones_are_mapped(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", made(), names=("joint1", "joint2"))
    with pytest.raises(LogError, match="names the joint shoulder of the robot; there are: joint1, joint2"):
        read_log(ROBOT, folder)
    assert_same(read_log(ROBOT, folder, LogMap(joints={"shoulder": "joint1", "elbow": "joint2"})), made())
    with pytest.raises(LogError, match="'wrist' is no joint of the robot; allowed: shoulder, elbow"):
        read_log(ROBOT, folder, LogMap(joints={"wrist": "joint2"}))


def test_units_that_cannot_be_right_are_refused_and_named_ones_are_converted(tmp_path: Path) -> None:
    log = made(PANDA)
    columns = tuple(f"{signal}{i}" for signal in "qvi" for i in range(1, 8))
    gain = np.array([5.1, 5.1, 4.0, 4.0, 1.9, 1.9, 1.9])
    degrees = Made(1e3 * log.time_s, log.q, log.v, log.effort)
    path = write_csv(
        tmp_path / "log.csv", degrees, columns, np.rad2deg(log.q), np.rad2deg(log.v), -1e3 * log.effort / gain
    )
    (tmp_path / "map.yaml").write_text(
        "time: {unit: ms}\n"
        'position: {columns: "q{i}", unit: deg}\n'
        'velocity: {columns: "v{i}", unit: deg/s}\n'
        'effort: {columns: "i{i}", unit: mA, gain: [5.1, 5.1, 4, 4, 1.9, 1.9, 1.9], '
        "sign: [-1, -1, -1, -1, -1, -1, -1]}\n"
    )
    right = read_map(tmp_path / "map.yaml", LogMap)
    assert_same(read_log(PANDA, path, right), log)

    def with_unit(key: str, unit: str) -> LogMap:
        return right.model_copy(update={key: getattr(right, key).model_copy(update={"unit": unit})})

    with pytest.raises(LogError, match="They would be right in degrees"):
        read_log(PANDA, path, with_unit("position", "rad"))
    with pytest.raises(LogError, match="57.* times the change of positions.*deg/s"):
        read_log(PANDA, path, with_unit("velocity", "rad/s"))
    with pytest.raises(LogError, match="efforts of panda_joint.* another unit"):
        read_log(PANDA, path, with_unit("effort", "A"))


def test_efforts_without_gravity_get_the_nominal_models(tmp_path: Path) -> None:
    log = made(PANDA)
    gravity = nominal_gravity(PANDA, log.q)
    assert np.abs(gravity).max() > 10.0
    held = Made(log.time_s, log.q, log.v, log.effort - gravity, joints=log.joints)
    mapped = LogMap.model_validate({"effort": {"gravity_compensated": True}})
    recording = read_log(PANDA, write_bag(tmp_path / "bag", held), mapped)
    assert_same(recording, log)
    assert said(recording, "nominal model's is added") == len(log.q)


def test_efforts_on_a_topic_without_names_or_stamps_are_held(tmp_path: Path) -> None:
    log = made()
    folder = write_bag(tmp_path / "bag", log)
    other, layout = STORE.types["std_msgs/msg/Float64MultiArray"], STORE.types["std_msgs/msg/MultiArrayLayout"]
    joint_state, header, time = (
        STORE.types[name]
        for name in ("sensor_msgs/msg/JointState", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    with Writer(tmp_path / "two", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        states = writer.add_connection("/joint_states", joint_state.__msgtype__, typestore=STORE)
        efforts = writer.add_connection("/efforts", other.__msgtype__, typestore=STORE)
        for k, stamp_s in enumerate(log.time_s):
            stamp, none = round(1e9 * stamp_s), np.zeros(0)
            message = joint_state(header(time(0, stamp), ""), list(JOINTS), log.q[k], log.v[k], none)
            writer.write(states, stamp + 5_000_000, STORE.serialize_cdr(message, joint_state.__msgtype__))
            if k % 2 == 0:
                data = other(layout([], 0), log.effort[k])
                writer.write(efforts, stamp, STORE.serialize_cdr(data, other.__msgtype__))
    mapped = LogMap.model_validate({"effort": {"topic": "/efforts", "field": "data"}})
    recording = read_log(ROBOT, tmp_path / "two", mapped)
    assert said(recording, "the latest one is held") == 200
    np.testing.assert_array_equal(recording.effort, log.effort[::2].repeat(2, axis=0))
    with pytest.raises(LogError, match="no message on /joint_states holds the effort of each joint"):
        read_log(ROBOT, tmp_path / "two")
    assert len(read_log(ROBOT, folder).q) == len(log.q)


def test_other_kinds_are_refused() -> None:
    with pytest.raises(LogError, match="kind 'ground' cannot be read; allowed: robots with .* and quadrotors"):
        read_log(load_robot("f1tenth"), Path("log.csv"))
    with pytest.raises(LogError, match=r"no such file or folder; expected .*\.mcap.*\.ulg"):
        read_log(load_robot("x500"), Path("log.csv"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("effort: {unit: kg}", "effort.unit.*'kg'.*Nm.*mA"),
        ("effort: {unit: A}", "needs 'gain'"),
        ("effort: {gain: 2.0}", "'gain' is of currents"),
        ("positions: {unit: deg}", "positions.*allowed keys: time, joints, position, velocity, effort"),
        ("position: {columns: [a]}", "columns has 1 entries; the robot has 2 joints"),
        ("position: {columns: []}", "must name a column for each joint"),
        ("- a", "must be a mapping"),
    ],
)
def test_a_wrong_map_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(LogError, match=words):
        read_log(ROBOT, tmp_path / "log.csv", read_map(tmp_path / "map.yaml", LogMap))


numbers = st.floats(-1e6, 1e6)


@given(
    st.lists(st.tuples(st.lists(st.text(max_size=5), max_size=4), *[st.lists(numbers, max_size=4)] * 3), max_size=4),
    st.text(max_size=5),
)
def test_joint_states_are_decoded_as_the_library_does(messages: list[tuple[list[str], ...]], frame: str) -> None:
    joint_state, header, time = (
        STORE.types[name]
        for name in ("sensor_msgs/msg/JointState", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    decoder = JointStateDecoder()
    for second, (names, *values) in enumerate(messages):
        names = [name.replace("\x00", "") for name in names]
        arrays = [np.array(each, dtype=np.float64) for each in values]
        message = joint_state(header(time(second, 7), frame.replace("\x00", "")), names, *arrays)
        raw = bytes(STORE.serialize_cdr(message, joint_state.__msgtype__))
        for _ in range(2):  # the second time by the first one's layout
            found = decoder(raw)
            assert found.stamp_ns == second * 10**9 + 7 and found.name == tuple(names)
            for ours, theirs in zip(found[2:], arrays, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_a_block_of_joint_states_is_decoded_as_each_of_them(tmp_path: Path) -> None:
    """Blocks of one layout at once, others message by message; the last block is shorter."""
    raw: list[bytes] = []
    for size in (2, 3):
        joints, places = tuple(f"joint_{i}" for i in range(size)), list(range(size))
        log = Made(np.arange(50) * 1e-3, *np.random.default_rng(size).normal(size=(3, 50, size)), joints=joints)
        with Bag(write_bag(tmp_path / f"{size}", log, order=places, velocity=size == 2)) as bag:
            raw += [bytes(message.data) for message in bag.messages(("/joint_states",))]
    assert decoded_block(raw) is None and decoded_block(raw[::-1]) is None
    for messages in (raw[:50], raw[50:]):
        block, decode = decoded_block(messages), JointStateDecoder()
        assert block is not None
        for k, each in enumerate(map(decode, messages)):
            assert block.stamps_ns[k] == each.stamp_ns and block.name == each.name
            for ours, theirs in zip(block[2:], each[2:], strict=True):
                np.testing.assert_array_equal(ours[k], theirs)


@pytest.mark.parametrize("size", [1, 7, 90])
def test_a_recording_does_not_depend_on_the_size_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    folder = write_bag(tmp_path / "bag", made(PANDA, 100), order=[3, 0, 6, 1, 5, 2, 4], extra=("finger",))
    whole = read_log(PANDA, folder)
    monkeypatch.setattr(bag_signals, "_BLOCK", size)
    parts = read_log(PANDA, folder)
    assert parts.repairs == whole.repairs
    for name in ("time_s", "q", "v", "effort"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@given(st.binary(max_size=80))
def test_other_bytes_are_no_joint_states(raw: bytes) -> None:
    decoder = JointStateDecoder()
    with suppress(ValueError, struct.error):
        decoder(b"\x00\x01\x00\x00" + raw)


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".csv"])
def test_damaged_bytes_are_read_around_or_refused(tmp_path: Path, suffix: str) -> None:
    log, rng = made(count=60), np.random.default_rng(1000)
    if suffix == ".csv":
        path = write_csv(tmp_path / "log.csv", log, default_names(ROBOT), log.q, log.v, log.effort)
    else:
        (path,) = write_bag(tmp_path / "bag", log, suffix == ".mcap").glob(f"*{suffix}")
    whole, damaged = path.read_bytes(), tmp_path / f"damaged{suffix}"
    for _ in range(40):
        raw = bytearray(whole[: int(rng.integers(len(whole) // 2, len(whole) + 1))])
        for at in rng.integers(len(raw), size=rng.integers(1, 30)):
            raw[at] = rng.integers(256)
        damaged.write_bytes(bytes(raw))
        with suppress(LogError):
            recording = read_log(ROBOT, damaged)
            assert np.isfinite(recording.q).all() and np.all(np.diff(recording.time_s) > 0.0)


@pytest.mark.parametrize(
    ("factor", "unit", "said"), [(1e3, "s", "ms"), (1e9, "s", "ns"), (1e6, "ms", "us"), (1, "us", "s")]
)
def test_times_in_another_unit_are_refused_with_the_right_one(
    tmp_path: Path, factor: float, unit: str, said: str
) -> None:
    log = made()
    other = Made(factor * (1.76e9 + log.time_s), log.q, log.v, log.effort, joints=JOINTS)
    path = write_csv(tmp_path / "log.csv", other, default_names(ROBOT), log.q, log.v, log.effort)
    with pytest.raises(LogError, match=f"right in {said}: say 'time: {{unit: {said}}}'"):
        read_log(ROBOT, path, LogMap(time=TimeMap(unit=unit)))  # type: ignore[arg-type]
    right = read_log(ROBOT, path, LogMap(time=TimeMap(unit=said)))  # type: ignore[arg-type]
    assert right.period_s == pytest.approx(log.time_s[1] - log.time_s[0], rel=0.01)


def test_decimal_commas_are_read_and_counted(tmp_path: Path) -> None:
    log = made(count=60)
    path = write_csv(tmp_path / "log.csv", log, default_names(ROBOT), log.q, log.v, log.effort)
    head, rows = path.read_text().split("\n", 1)
    path.write_text(head.replace(",", ";") + "\n" + rows.replace(",", ";").replace(".", ","))
    recording = read_log(ROBOT, path)
    assert said(recording, "decimal commas") == 60
    assert_same(recording, log)


def test_states_that_are_slower_than_rows_count_once(tmp_path: Path) -> None:
    log = made(count=1000, period_s=0.002)
    rests = (log.time_s > 1.0) & (log.time_s < 1.4)
    at = 10 * (np.cumsum(~rests) // 10)
    slow = Made(log.time_s, log.q[at], np.where(rests[:, None], 0.0, log.v[at]), log.effort, joints=JOINTS)
    recording = read_log(
        ROBOT, write_csv(tmp_path / "log.csv", slow, default_names(ROBOT), slow.q, slow.v, slow.effort)
    )
    moving = np.count_nonzero((recording.time_s < 0.85) | (recording.time_s > 1.55))
    assert said(recording, "repeat the state before, in motion") == 1000 - len(recording.time_s) > 500
    assert moving == pytest.approx(1.3 / 0.02, abs=3.0), "at 50 Hz"
    middle = (recording.time_s > 1.15) & (recording.time_s < 1.25)
    assert middle.sum() == pytest.approx(50, abs=2), "at rest, all rows are kept"


@pytest.mark.parametrize("velocity", ["repeated", "right", "none"])
@pytest.mark.parametrize("joints", [slice(None), slice(1, 2)], ids=["all", "one"])
def test_states_that_are_frozen_in_motion_are_left_out_and_said(tmp_path: Path, velocity: str, joints: slice) -> None:
    """A driver that repeats its last sample for 0.2 s, or the sensor of one joint that does."""
    log, frozen = made(count=1000), slice(101, 150)
    q, v = log.q.copy(), log.v.copy()
    q[frozen, joints] = q[100, joints]
    if velocity == "repeated":
        v[frozen, joints] = v[100, joints]
    names = (*ROBOT.coordinates.q, *(ROBOT.coordinates.v if velocity != "none" else ()), *ROBOT.coordinates.effort)
    signals = [q, *([v] if velocity != "none" else []), log.effort]
    recording = read_log(ROBOT, write_csv(tmp_path / "log.csv", log, names, *signals))
    assert said(recording, "repeats bit for bit while the robot moves") == 49
    kept = np.delete(np.arange(1000), np.arange(101, 150))
    np.testing.assert_allclose(recording.time_s, log.time_s[kept] - log.time_s[0], atol=2e-9)
    np.testing.assert_allclose(recording.q, log.q[kept], atol=1e-9)
    assert np.abs(recording.v).max() < 1.1 * np.abs(log.v).max(), "no leap is differentiated"
    assert any("states were frozen in 49 rows" in finding.text for finding in check(ROBOT, recording).findings)


def test_a_rest_coarse_encoders_and_the_end_of_a_motion_are_not_frozen(tmp_path: Path) -> None:
    log = made(count=1200)
    at = np.concatenate([np.arange(300), np.full(300, 299), np.arange(300, 900)])
    at_rest = Made(log.time_s, log.q[at], np.where((at == 299)[:, None], 0.0, log.v[at]), log.effort[at], joints=JOINTS)
    coarse = replace(log, q=np.round(log.q / 2e-3) * 2e-3)
    for each in (at_rest, coarse, replace(coarse, q=np.round(log.q / 6e-4) * 6e-4)):
        path = write_csv(tmp_path / "log.csv", each, default_names(ROBOT), each.q, each.v, each.effort)
        assert not [repair for repair in read_log(ROBOT, path).repairs if "bit for bit" in repair.what]


def rewritten(tmp_path: Path, log: Made, separator: str, decimal: str = ".", names: str | None = None) -> list[str]:
    """Lines of a table with our names and another separator."""
    path = write_csv(tmp_path / "plain.csv", log, default_names(ROBOT), log.q, log.v, log.effort)
    head, *rows = path.read_text().splitlines()
    rows = [row.replace(",", "\0").replace(".", decimal).replace("\0", separator) for row in rows]
    return [names or head.replace(",", separator), *rows]


UNITS_ROW = "s,rad,rad,rad/s,rad/s,Nm,Nm"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("above", [[], ["# recorded by us, at 250 Hz", ""], ["sep=;", "Run 7; 2026-11-30"]])
def test_tables_of_any_separator_are_read_with_lines_above_the_names(
    tmp_path: Path, separator: str, above: list[str]
) -> None:
    log = made(count=300)
    lines = [*above, *rewritten(tmp_path, log, separator)]
    lines.insert(len(lines) // 2, "# a comment")
    (tmp_path / "log.csv").write_text("\n".join(lines))
    recording = read_log(ROBOT, tmp_path / "log.csv")
    assert_same(recording, log)
    assert recording.repairs == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_texts_with_a_byte_order_mark_are_read(tmp_path: Path, encoding: str) -> None:
    log = made(count=60)
    (tmp_path / "log.txt").write_text("\n".join(rewritten(tmp_path, log, "\t", ",")), encoding=encoding)
    recording = read_log(ROBOT, tmp_path / "log.txt")
    assert_same(recording, log)
    assert said(recording, "decimal commas") == 60


def test_decimal_commas_in_quotes_are_read_and_others_between_commas_refused(tmp_path: Path) -> None:
    log = made(count=60)
    head, *rows = rewritten(tmp_path, log, ";", ",")
    quoted = [",".join(f'"{cell}"' for cell in row.split(";")) for row in rows]
    (tmp_path / "log.csv").write_text("\n".join([head.replace(";", ","), *quoted]))
    assert_same(read_log(ROBOT, tmp_path / "log.csv"), log)
    (tmp_path / "log.csv").write_text("\n".join([head.replace(";", ","), *(row.replace(";", ",") for row in rows)]))
    with pytest.raises(LogError, match="export with ';' or tabs, or with decimal points"):
        read_log(ROBOT, tmp_path / "log.csv")
    rows[30] = "1,000,000" + rows[30][rows[30].index(";") :]
    (tmp_path / "log.csv").write_text("\n".join([head, *rows]))
    with pytest.raises(LogError, match="'1,000,000' has separators of thousands"):
        read_log(ROBOT, tmp_path / "log.csv")


def test_a_line_of_units_agrees_with_the_map_or_is_refused_with_the_entry(tmp_path: Path) -> None:
    log = made(count=60)
    head, *rows = rewritten(tmp_path, log, ",")
    for units in (UNITS_ROW, ",".join(f"[{unit}]" for unit in UNITS_ROW.split(","))):
        (tmp_path / "log.csv").write_text("\n".join([head, units, *rows]))
        recording = read_log(ROBOT, tmp_path / "log.csv")
        assert_same(recording, log)
        assert said(recording, "lines of units") == 1
    for units, entry in (
        (UNITS_ROW.replace("rad,", "deg,", 1), "'position: {unit: deg}'"),
        (UNITS_ROW.replace("rad/s", "°/s"), "'velocity: {unit: deg/s}'"),
        (UNITS_ROW.replace("s,", "ms,", 1), "'time: {unit: ms}'"),
        (UNITS_ROW.replace("Nm", "mNm"), "'effort: {unit: mNm}'"),
    ):
        (tmp_path / "log.csv").write_text("\n".join([head, units, *rows]))
        with pytest.raises(LogError, match=re.escape(entry)):
            read_log(ROBOT, tmp_path / "log.csv")


def test_cells_after_the_last_column_may_be_empty(tmp_path: Path) -> None:
    log = made(count=60)
    head, *rows = rewritten(tmp_path, log, ";")
    (tmp_path / "log.csv").write_text("\n".join([head, *(row + ";" for row in rows)]))
    assert_same(read_log(ROBOT, tmp_path / "log.csv"), log)
