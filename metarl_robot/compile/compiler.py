# SPDX-License-Identifier: Apache-2.0
"""The system's C compiler; libraries are stored in the user's cache folder (code_cache.py)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path

from metarl_robot.compile import code_cache
from metarl_robot.compile.compiler_process import check_not_stopped, in_parallel, run_compiler

_FLAGS = ("-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
"""Tuned for this machine's processor.

Results are those of IEEE arithmetic, apart from fused multiply-adds.
"""
_TIMEOUT_S = 600.0
"""A compiler that takes longer counts as hung: the longest sources take seconds, or minutes under load."""
_hanging: set[str] = set()
_making_scratch = threading.Lock()


class _CompilerError(Exception):
    """The compiler failed or hangs."""


def compiled(source: str, straight: bool = False, include: Path | None = None) -> Path | None:
    """The loadable shared library of a C source; None, with a warning, if no compiler works.

    Arguments:
        straight: the code is long and without loops: more optimisation would cost minutes and gain nothing.
        include: a further folder of headers. Its content is not part of the cache's key: let the source name its
            version.

    Raises:
        CompilationStopped: this process is to end, see compiler_process.py.
    """
    check_not_stopped()
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        message = "no C compiler found (tried $CC, cc, gcc): same results, slower"
        code_cache.warn_once("compiler", message)
        return None
    try:
        headers = () if include is None else (f"-I{include}",)
        return _library(source, (compiler, *_FLAGS, "-O1" if straight else "-O3", *headers))
    except (OSError, _CompilerError) as error:
        message = f"compiling failed ({error}): same results, slower"
        code_cache.warn_once("compiler", message)
        return None


def all_compiled(sources: Iterable[str], straight: bool = False) -> list[Path | None]:
    """Compile several sources in parallel. Raises CompilationStopped, see compiler_process.py."""
    return in_parallel(partial(compiled, straight=straight), sources)


def _library(source: str, command: tuple[str, ...]) -> Path:
    key = hashlib.sha256("\n".join([source, *command, _processor()]).encode()).hexdigest()[:24]
    folder = code_cache.private_folder()
    found = None if folder is None else code_cache.find(folder, key)
    if found is not None and _load_error(found) is None:
        return found
    built = _build(source, command, scratch_folder() / f"{key}.so")
    kept = None if folder is None else _kept(folder, key, built)
    for library in filter(None, (kept, built)):
        error = _load_error(library)
        if error is None:
            return library
    if kept is not None:
        kept.unlink(missing_ok=True)
    raise _CompilerError(f"the library cannot be loaded: {error}")


def _kept(folder: Path, key: str, built: Path) -> Path | None:
    try:
        return code_cache.store(folder, key, built.read_bytes())
    except OSError as error:
        code_cache.warn_of_cache(error)
        return None


def _load_error(library: Path) -> OSError | None:
    """The error if a library cannot be loaded: not a library, or its file system does not allow execution."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return error
    return None


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="metarl_robot-", ignore_cleanup_errors=True)


def scratch_folder() -> Path:
    """A temporary folder of this process, removed at its end. Raises OSError."""
    with _making_scratch:
        return Path(_scratch().name)


def _build(source: str, command: tuple[str, ...], library: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        c_file, built = Path(scratch) / "source.c", Path(scratch) / "built.so"
        c_file.write_text(source)
        _run([*command, str(c_file), "-o", str(built), "-lm"])
        built.replace(library)
    return library


def _run(command: list[str]) -> None:
    if command[0] in _hanging:
        raise _CompilerError(f"{command[0]} hangs")
    try:
        run_compiler(command, _TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        _hanging.add(command[0])
        raise _CompilerError(f"{command[0]} has not ended after {_TIMEOUT_S:g} s") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().partition("\n")[0]
        ended = f"{command[0]} ended with {error.returncode}"
        raise _CompilerError(f"{ended}: {said[:200]}") from error


def _processor() -> str:
    """The processor meant by -march=native, so that machines can share a cache."""
    lines: list[str] = []
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    features = sorted({line for line in lines if line.lower().startswith(("flags", "features", "model name"))})
    return "\n".join([platform.machine(), sys.platform, *features])
