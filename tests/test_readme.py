# SPDX-License-Identifier: Apache-2.0
"""Every command of the README's ```bash blocks is run, or is named below with the reason why not, or with its
substitute.

A block that only shows something (output, a file, another machine's commands) is fenced as ```text, ```console or
```yaml.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

# command → why it is not run here
NOT_RUN: dict[str, str] = {}

# command → the same command, so short that a test can afford it
SHORTENED: dict[str, str] = {}


def bash_commands(text: str) -> list[str]:
    """The commands of all ```bash blocks: comments dropped, lines that end in a backslash joined."""
    commands = []
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            command = " ".join(shlex.split(line, comments=True, posix=False))
            if command:
                commands.append(command)
    return list(dict.fromkeys(commands))


def readme_commands() -> list[str]:
    """The README's commands; none where there is no README (an installed copy)."""
    return bash_commands(README.read_text(encoding="utf-8")) if README.is_file() else []


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder where relative paths of the README lead to the checkout, but commands write outside it.

    `metarl` is this Python's, also where the package is not installed.
    """
    command = tmp_path / "bin" / "metarl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m metarl_robot "$@"\n')
    command.chmod(0o755)
    for name in ("examples", "launch", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_commands_are_extracted_as_a_reader_would_type_them() -> None:
    text = (
        "```bash\nmetarl a --x 'b c'   # says why\n# only a comment\nmetarl b \\\n  --long\n```\n```text\nmetarl "
        "c\n```\n"
    )
    assert bash_commands(text) == ["metarl a --x 'b c'", "metarl b --long"]


def test_the_lists_name_only_commands_that_the_readme_has() -> None:
    assert {*NOT_RUN, *SHORTENED} <= set(readme_commands())


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in readme_commands() if command not in NOT_RUN])
def test_readme_command_runs(command: str, workplace: Path) -> None:
    path = os.pathsep.join([str(workplace / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", SHORTENED.get(command, command)],
        cwd=workplace,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
