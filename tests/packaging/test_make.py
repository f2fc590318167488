# SPDX-License-Identifier: Apache-2.0
"""The make targets that need no installation: help, and the refusals of `make setup`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target(sources: Path) -> None:
    listed = re.findall(r"^  make (\w+) +\w", make(sources).stdout, flags=re.MULTILINE)
    targets = re.search(r"^\.PHONY: (.+)$", (sources / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert targets is not None
    assert sorted(listed) == sorted(targets[1].split())


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo 'Python 3.9.1'; exit 1", r"needs Python 3\.11, 3\.12 or 3\.13 \(found: Python 3\.9\.1\)"),
        (
            'case "$2" in *ensurepip*) exit 1;; esac; exec python3 "$@"',
            r"no venv module.*apt install python3\.1\d-venv",
        ),
    ],
    ids=["too old", "without venv"],
)
def test_setup_says_what_is_wrong_with_a_python(sources: Path, tmp_path: Path, program: str, reason: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    python.chmod(0o755)
    done = make(sources, "setup", f"PYTHON={python}")
    assert done.returncode != 0
    assert re.search(reason, done.stderr)
    assert not (sources / ".venv").exists()
