# SPDX-License-Identifier: Apache-2.0
"""Errors as a user meets them: one paragraph and an exit code, on any terminal, never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metarl_robot.cli.app import main
from metarl_robot.core.robot import MODELS_DIR

METARL = (sys.executable, "-m", "metarl_robot")


def metarl(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*METARL, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        errors="replace",
    )


def run_with(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`metarl fail`, a command that does as the test wants."""
    lines = (
        "import sys",
        "from metarl_robot.cli.app import app, main",
        "@app.command()",
        "def fail() -> None:",
        f"    {body}",
    )
    program = "\n".join((*lines, "sys.argv[1:] = ['fail']", "main()"))
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A robot of one's own."""
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    return tmp_path / "mine"


def test_a_defect_is_one_paragraph_and_its_traceback_is_in_a_file(tmp_path: Path) -> None:
    done = run_with("[].remove('x' * 10_000)", TMPDIR=str(tmp_path), PYTHONIOENCODING="ascii", LANG="C")
    assert done.returncode == 70 and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    (report,) = tmp_path.glob("metarl_defect_*.txt")
    assert str(report) in done.stderr and "Traceback" in report.read_text() and "ValueError" in report.read_text()
    debugging = run_with("[].remove('x')", METARL_DEBUG="1")
    assert debugging.returncode == 1 and "Traceback" in debugging.stderr


@pytest.mark.parametrize(
    ("package", "remedy"),
    [
        ("rclpy", r"source a ROS 2 installation, or pip install 'metarl_robot[ros]'"),
        ("torch", r"pip install 'metarl_robot[train]'"),
        ("mujoco", "pip install metarl_robot"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(package: str, remedy: str) -> None:
    done = run_with(f"sys.modules['{package}'] = None; import {package}")
    assert done.returncode == 1 and remedy in done.stderr and package in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_a_failure_and_a_missing_file_bad_input() -> None:
    assert run_with("raise OSError(28, 'No space left on device', 'x')").returncode == 1
    assert run_with("open('/nowhere/x')").returncode == 2


def test_work_that_fails_is_not_bad_input() -> None:
    done = run_with("from metarl_robot.cli.node_run import RunError; raise RunError('gate ended')")
    assert done.returncode == 1 and done.stderr == "error: gate ended\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [("eval", "--help"), ("eval", "planar2", "--controllers", "pid", "--suite", "nominal", "--seeds", "1")],
)
def test_a_terminal_that_knows_ascii_only_is_served_too(arguments: tuple[str, ...]) -> None:
    done = metarl(*arguments, PYTHONIOENCODING="ascii", LANG="C", LC_ALL="C")
    assert done.returncode == 0 and "Traceback" not in done.stderr and done.stdout.isascii()


@pytest.mark.slow
def test_what_looks_like_markup_in_a_robots_file_is_text(mine: Path) -> None:
    text = (mine / "robot.yaml").read_text()
    (mine / "robot.yaml").write_text(text.replace("control_rate_hz: 200", "control_rate_hz: '[/nothing]'"))
    done = metarl("eval", str(mine))
    assert done.returncode == 2 and "'[/nothing]'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "x" * 100_000),
        ("eval", "planar2", "--seeds", "9" * 4000),
        ("eval", "planar2", "--seeds", "0"),
        ("eval", b"\xff\xfe".decode("utf-8", "surrogateescape")),
        ("eval", "planar2", "--jobs", "²"),
        ("demo", "planar2", "--payload-mass", "nan"),
        ("demo", "planar2", "--payload-offset", "nan,0"),
        ("demo", "planar2", "--set", "payload_com_m=nan,0,0"),
        ("demo", "planar2", "--set", "payload_mass_kg"),
        ("demo", "planar2", "--set", "wind_m_s=3"),
        ("info", ""),
        ("info", "/"),
        ("launch", "arm", "seed:=[1"),
        ("launch", "arm", "seed:=!!int x"),
        ("launch", "arm", "seed:=" + "9" * 4000),
        ("launch", "quad", "robot:=panda"),
        ("launch", "arm", "robot:=x500"),
        ("launch", "arm", "robot:=pandda"),
        ("plot", "/nowhere"),
        ("bench", "[/b]"),
    ],
)
def test_wrong_arguments_are_one_paragraph_and_exit_code_2(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metarl", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert "Traceback" not in said and len(said) < 12_000
    assert not list(tmp_path.iterdir())


def test_nobody_who_reads_is_no_defect() -> None:
    process = subprocess.Popen([*METARL, "robots", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() in (0, 1) and "Traceback" not in said and "defect" not in said
