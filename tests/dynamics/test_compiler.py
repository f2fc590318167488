# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled code: damage is repaired, others' code is not loaded, no cache is needed.

Each case runs in a process of its own: a library that was loaded once would hide the file's state.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metarl_robot.compile import code_cache

ANSWER = "int answer(void) { return 42; }"
PLANTED = "int answer(void) { return 666; }"
PROGRAM = """
import ctypes, sys
from metarl_robot.compile import compiler
exec(sys.argv[2])
library = compiler.compiled(sys.argv[1])
print(None if library is None else ctypes.CDLL(str(library)).answer(), library)
"""


def start(cache: Path | str, source: str, before: str, **environment: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "METARL_CACHE": str(cache), **environment}
    command, pipe = [sys.executable, "-c", PROGRAM, source, before], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=variables)


def asked(cache: Path | str, source: str = ANSWER, before: str = "", **environment: str) -> tuple[str, str]:
    """(answer of the compiled function, stderr) of a fresh process."""
    out, said = start(cache, source, before, **environment).communicate(timeout=120)
    assert out, said
    return out.split()[0], said


def only_library(cache: Path) -> Path:
    (library,) = cache.glob("*.so")
    return library


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that holds the library of ANSWER."""
    folder = tmp_path / "cache"
    assert asked(folder) == ("42", "")
    return folder


def test_what_was_built_is_used_again(cache: Path) -> None:
    built = only_library(cache).stat().st_mtime_ns
    assert asked(cache, CC="cc") == ("42", "")
    assert only_library(cache).stat().st_mtime_ns == built


def test_folder_and_library_are_the_users_alone(cache: Path) -> None:
    assert cache.stat().st_mode & 0o777 == 0o700
    assert only_library(cache).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_library_is_built_again(cache: Path, share: float) -> None:
    library = only_library(cache)
    whole = library.read_bytes()
    library.write_bytes(whole[: int(share * len(whole))])
    assert asked(cache) == ("42", "")
    assert only_library(cache).read_bytes() == whole


def test_an_altered_library_is_built_again(cache: Path) -> None:
    library = only_library(cache)
    altered = bytearray(library.read_bytes())
    altered[len(altered) // 2] ^= 1
    library.write_bytes(altered)
    assert asked(cache) == ("42", "")
    assert only_library(cache).read_bytes() != altered


def test_a_library_under_anothers_name_is_not_loaded(cache: Path) -> None:
    library = only_library(cache)
    name = library.name
    library.unlink()
    assert asked(cache, PLANTED) == ("666", "")
    only_library(cache).rename(cache / name)
    assert asked(cache) == ("42", "")


def plant(cache: Path) -> Path:
    """In place of the library, one that answers 666 and has the right name for its content."""
    library = only_library(cache)
    key = library.name.partition("-")[0]
    asked(cache.parent / "other", PLANTED)
    content = only_library(cache.parent / "other").read_bytes()
    library.unlink()
    code_cache.store(cache, key, content)
    assert asked(cache)[0] == "666"  # nothing but owner and mode can tell
    return only_library(cache)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@as_root
def test_another_users_library_is_not_loaded(cache: Path) -> None:
    os.chown(plant(cache), 12345, 12345)
    assert asked(cache) == ("42", "")


@as_root
def test_nothing_is_loaded_from_another_users_folder(cache: Path) -> None:
    plant(cache)
    os.chown(cache, 12345, 12345)
    answer, said = asked(cache)
    assert answer == "42"
    assert "belongs to another user" in said and "METARL_CACHE" in said


@pytest.mark.parametrize("place", [".", ".."])
def test_nothing_is_loaded_from_where_all_can_write(cache: Path, place: str) -> None:
    plant(cache)
    (cache / place).chmod(0o777)
    answer, said = asked(cache)
    assert answer == "42"
    assert "chmod go-w" in said and "METARL_CACHE" in said


def test_a_library_that_all_can_write_to_is_not_loaded(cache: Path) -> None:
    plant(cache).chmod(0o666)
    assert asked(cache)[0] == "42"


def test_a_link_is_not_followed_to_a_library(cache: Path) -> None:
    library = plant(cache)
    elsewhere = library.rename(cache.parent / "elsewhere.so")
    library.symlink_to(elsewhere)
    assert asked(cache)[0] == "42"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"METARL_CACHE": "", "XDG_CACHE_HOME": ""}, "home/.cache/metarl_robot"),
        ({"METARL_CACHE": "", "XDG_CACHE_HOME": "relative"}, "home/.cache/metarl_robot"),
        ({"METARL_CACHE": "", "XDG_CACHE_HOME": "{}/xdg"}, "xdg/metarl_robot"),
        ({"METARL_CACHE": "{}/own", "XDG_CACHE_HOME": "{}/xdg"}, "own"),
    ],
)
def test_an_empty_variable_counts_as_unset(tmp_path: Path, variables: dict[str, str], expected: str) -> None:
    given = {name: value.format(tmp_path) for name, value in variables.items()}
    assert asked("", HOME=str(tmp_path / "home"), **given)[0] == "42"
    assert only_library(tmp_path / expected)


NO_HOME = "import pwd; pwd.getpwuid = lambda uid: {}[uid]; __import__('os').environ.pop('HOME')"
TOO_LITTLE_SPACE = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
HANGS = "compiler._TIMEOUT_S = 0.2"


@pytest.mark.parametrize(
    ("case", "answer", "words"),
    [
        ({"cache": "/proc/no/such"}, "42", "compiled code is not kept"),
        ({"cache": "", "XDG_CACHE_HOME": "", "before": NO_HOME}, "42", "METARL_CACHE"),
        ({"before": TOO_LITTLE_SPACE}, "None", "same results, slower"),
        ({"PATH": "/nonexistent"}, "None", "no C compiler"),
        ({"CC": "false"}, "None", "same results, slower"),
        ({"CC": "true"}, "None", "same results, slower"),
        ({"CC": "{}/hangs", "before": HANGS}, "None", "has not ended"),
        ({"source": "int answer(void) { return missing(); }"}, "None", "same results, slower"),
    ],
    ids=["unwritable", "no-home", "full", "none", "fails", "writes-nothing", "hangs", "unloadable"],
)
def test_without_cache_or_compiler_there_is_one_warning(
    tmp_path: Path, case: dict[str, str], answer: str, words: str
) -> None:
    script = tmp_path / "hangs"
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    given = {"cache": str(tmp_path / "cache"), **case}
    given = {name: value.replace("{}/", f"{tmp_path}/") for name, value in given.items()}
    twice = given.pop("before", "") + "\ncompiler.compiled(sys.argv[1])"
    found, said = asked(before=twice, **given)
    assert found == answer
    assert words in said
    assert said.count("Warning:") == 1 and "Traceback" not in said


def test_several_processes_that_build_at_once_get_whole_libraries(tmp_path: Path) -> None:
    processes = [start(tmp_path / "cache", ANSWER, "") for _ in range(4)]
    answers = [process.communicate(timeout=120)[0].split()[0] for process in processes]
    assert answers == ["42"] * 4
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".so"]
