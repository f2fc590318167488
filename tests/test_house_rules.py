# SPDX-License-Identifier: Apache-2.0
"""Rules of CONTRIBUTING.md that no linter checks: licence headers, and one version in all places."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (".ci", "benchmarks", "docs", "examples", "launch", "metarl_robot", "models", "ros_nodes", "sim", "tests")
HEADER = re.compile(r"^(#|//) SPDX-License-Identifier: Apache-2\.0$")


def sources() -> Iterator[Path]:
    """Every .py, .c, .h and .sh file of the checkout, and every file that begins with #!; links are not followed."""
    yield from ROOT.glob("*.py")
    for top in FOLDERS:
        for folder, names, files in os.walk(ROOT / top):
            names[:] = [name for name in names if name != "__pycache__"]
            yield from (path for path in (Path(folder) / file for file in files) if is_source(path))


def is_source(path: Path) -> bool:
    if path.suffix in (".py", ".c", ".h", ".sh"):
        return True
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def has_header(text: str) -> bool:
    """Whether the first line, or the second after #!, names the licence."""
    lines = text.splitlines()[:2]
    return bool(lines) and bool(HEADER.match(lines[-1] if lines[0].startswith("#!") else lines[0]))


def test_every_source_file_names_its_licence() -> None:
    missing = [str(path.relative_to(ROOT)) for path in sources() if not has_header(path.read_text(encoding="utf-8"))]
    assert missing == [], "put '# SPDX-License-Identifier: Apache-2.0' on the first line (after #!; '//' in C)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# SPDX-License-Identifier: Apache-2.0\nimport os\n", True),
        ("#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n", True),
        ("// SPDX-License-Identifier: Apache-2.0\n", True),
        ("import os\n# SPDX-License-Identifier: Apache-2.0\n", False),
        ("# SPDX-License-Identifier: MIT\n", False),
        ("", False),
    ],
)
def test_a_header_is_told_from_none(text: str, found: bool) -> None:
    assert has_header(text) == found


@pytest.mark.skipif(not (ROOT / "package.xml").is_file(), reason="an installed copy")
def test_setup_package_xml_and_changelog_name_one_version() -> None:
    found = {
        name: re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)[0]
        for name, pattern in {
            "setup.py": r'^VERSION = "(.*)"$',
            "package.xml": r"^ *<version>(.*)</version>$",
            "CHANGELOG.md": r"^## (\d\S*) \(\d{4}-\d{2}-\d{2}\)$",  # the newest that is released
        }.items()
    }
    assert len(set(found.values())) == 1, found
