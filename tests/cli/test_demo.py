# SPDX-License-Identifier: Apache-2.0
"""The demo over real ROS 2 nodes, in lockstep on the small arm: its files, all made from the recordings."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.cli.recording import RecordingError, read_run
from metarl_robot.core.robot import load_robot

pytestmark = pytest.mark.ros

CONTROLLERS = ("nominal_mpc", "meta_mpc")
FIELDS = {
    "controller", "scenario", "seed", "rmse_before_m", "rmse_transient_m", "rmse_after_m", "joint_rmse_after_rad",
    "settle_s", "settled_within_m", "violations",
    "failed_steps", "step_ms_median", "step_ms_p99", "payload_mass_error_kg",
}  # fmt: skip


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "metarl_robot", *arguments]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """(folder of a finished demo, its JSON output)."""
    place = tmp_path_factory.mktemp("demo")
    options = (
        "--checkpoint",
        str(load_robot("planar2").folder / "dynamics.safetensors"),
        "--lockstep",
        "--duration",
        "7.5",
        "--set",
        "payload_mass_kg=0.8",
        "--json",
    )
    done = subprocess.run(command("demo", "planar2", *options), cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (place / "runs").iterdir()
    (folder / "stderr.txt").write_text(done.stderr)
    return folder, json.loads(done.stdout)


def test_it_leaves_report_summary_and_one_recording_a_controller(demo: tuple[Path, dict[str, object]]) -> None:
    folder, printed = demo
    assert {"report.html", "summary.json", *CONTROLLERS} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "summary.json").read_text()) == printed


def test_summary_has_the_fields_of_an_evaluation_and_the_adaptive_controller_copes(
    demo: tuple[Path, dict[str, object]],
) -> None:
    _, summary = demo
    episodes = summary["episodes"]
    assert isinstance(episodes, list)
    assert [row["controller"] for row in episodes] == list(CONTROLLERS)
    for row in episodes:
        assert row.keys() >= FIELDS
        assert row["payload"]["true_mass_kg"] == 0.8
        assert row["violations"] == row["failed_steps"] == 0
    nominal, meta = episodes
    assert nominal["rmse_after_m"] > 3.0 * nominal["rmse_before_m"], "it is not told of the payload"
    assert meta["rmse_after_m"] < 0.5 * nominal["rmse_after_m"]
    assert nominal["payload"]["belief"] is None
    assert abs(meta["payload"]["belief"]["early_mass_kg"] - 0.8) < 0.25


def test_without_a_terminal_a_plain_line_is_printed_now_and_then(demo: tuple[Path, dict[str, object]]) -> None:
    said = (demo[0] / "stderr.txt").read_text()
    lines = re.findall(r"planar2, meta_mpc: +([\d.]+) of 7.5 s +error ([\d.]+) mm", said)
    assert len(lines) >= 2
    assert float(lines[-1][0]) > float(lines[0][0])
    assert "\x1b" not in said


def test_the_report_needs_nothing_else(demo: tuple[Path, dict[str, object]]) -> None:
    page = (demo[0] / "report.html").read_text()
    assert page.count("<svg") == 6, "tracking, payload, computation, joints, efforts, force from outside"
    assert not re.search(r"(src|href)=[\"'](?!#)", page)
    assert not re.search(r"url\((?!#)", page)
    assert "0.80 kg" in page


def test_recordings_hold_every_step_and_all_topics(demo: tuple[Path, dict[str, object]]) -> None:
    run = read_run(demo[0] / "meta_mpc")
    assert (run.robot, run.controller) == ("planar2", "meta_mpc")
    assert "payload" in run.estimates
    assert run.change_s == (5.0,)
    for times in (run.time_s, run.step_time_s):
        assert times[0] == 0.0, "the gate lets nothing pass before the recorder listens"
        assert times[-1] >= 7.5
        assert round(float(np.diff(times).max() / run.period_s)) == 1, "in lockstep no state is lost or left unanswered"


def test_plot_draws_the_same_numbers_again(demo: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    folder = demo[0]
    target = tmp_path / "again.html"
    done = subprocess.run(command("plot", str(folder), "--out", str(target)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [
        re.findall(r"<td>(?:<span.*?</span>)?(.*?)</td>", page.read_text()) for page in (folder / "report.html", target)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(
    demo: tuple[Path, dict[str, object]], tmp_path: Path, share: float
) -> None:
    whole = demo[0] / "meta_mpc" / "meta_mpc_0.mcap"
    content, part = whole.read_bytes(), tmp_path / "part.mcap"
    part.write_bytes(content[: int(share * len(content))])
    run, full = read_run(part), read_run(whole)
    assert 0 < len(run.time_s) < len(full.time_s)
    assert (run.q == full.q[: len(run.q)]).all()


@pytest.mark.parametrize("content", [b"", b"not a recording", b"\x89MCAP0\r\n"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"x\.mcap"):
        read_run(path)


@pytest.mark.real_time
def test_ctrl_c_stops_every_node_and_says_what_is_kept(tmp_path: Path) -> None:
    arguments = command("demo", "planar2", "--controllers", "pid", "--duration", "11")
    process = subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " of 11 s" in line:  # the robot moves
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "metarl plot" in said
    (log,) = tmp_path.glob("runs/*/pid.log")
    assert log.read_text().count("finished cleanly") == 5, "recorder, gate, mpc, reference, plant"
