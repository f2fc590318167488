# SPDX-License-Identifier: Apache-2.0
"""The campaign: `python -m tests.fuzz --inputs 1000000 --json runs/fuzz.json`, reproducible by `--seed`.

Each parser runs in processes of its own, with bounded memory. A worker writes the number of its input
before it reads it, so that an input that ends the process, or hangs, is known; another worker goes on
behind it. Every input must be read or refused with a MetaRLError, within 2 s of processor time and
500 MB more than the process took before its first input.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from time import monotonic, process_time
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S, MOST_MB, HANGING_S = 2.0, 500.0, 120
MOST_MEMORY = 6 << 30
BATCH = 10_000
"""Inputs of one worker: starting one takes seconds."""
MOST_DEFECTS = 50


def main() -> int:
    """Run the campaign, or one worker of it."""
    options = _options().parse_args()
    if options.worker:
        return _work(options.worker, options.seed, options.first, options.inputs)
    return _campaign(options)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--inputs", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--only", action="append", help="name of a parser")
    options.add_argument("--json", type=Path)
    options.add_argument("--minutes", type=float, default=1e9, help="stop after as long")
    options.add_argument("--worker", help=argparse.SUPPRESS)
    options.add_argument("--first", type=int, default=0, help="number of the first input")
    return options


def _campaign(options: argparse.Namespace) -> int:
    from tests.fuzz.parsers import PARSERS

    parsers = [parser for parser in PARSERS if not options.only or parser.name in options.only]
    shares = sum(parser.share for parser in parsers)
    end = monotonic() + 60.0 * options.minutes
    results: dict[str, dict[str, Any]] = {parser.name: _empty() for parser in parsers}
    batches = [
        (parser.name, first, min(BATCH, count - first))
        for parser in parsers
        for count in [max(1, options.inputs * parser.share // shares)]
        for first in range(0, count, BATCH)
    ]
    batches.sort(key=lambda batch: batch[1])
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, found in pool.map(lambda batch: (batch[0], _batch(*batch, options.seed, end)), batches):
            _add(results[name], found)
    print(_table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"seed": options.seed, "parsers": results}, indent=2) + "\n")
    return int(any(result["defects"] for result in results.values()))


def _empty() -> dict[str, Any]:
    return {"inputs": 0, "read": 0, "refused": 0, "slowest_s": 0.0, "most_mb": 0.0, "defects": []}


def _add(total: dict[str, Any], found: dict[str, Any]) -> None:
    for key in ("inputs", "read", "refused"):
        total[key] += found[key]
    for key in ("slowest_s", "most_mb"):
        total[key] = max(total[key], found[key])
    total["defects"] = (total["defects"] + found["defects"])[:MOST_DEFECTS]


def _batch(name: str, first: int, count: int, seed: int, end: float) -> dict[str, Any]:
    """Inputs `first` to `first + count`, in as many workers as it takes."""
    result, done = _empty(), 0
    while done < count and monotonic() < end and len(result["defects"]) < MOST_DEFECTS:
        for line in _worker(name, seed, first + done, count - done):
            _add(result, line)
            done = line["next"] - first
            if monotonic() >= end:
                return result
        if done < count:  # the worker ended within an input
            result["defects"].append({"input": first + done, "error": "the process ended or hung"})
            result["inputs"], done = result["inputs"] + 1, done + 1
    return result


def _worker(name: str, seed: int, first: int, count: int) -> Iterator[dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--worker",
        name,
        "--seed",
        str(seed),
        "--first",
        str(first),
        "--inputs",
        str(count),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONFAULTHANDLER": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
        finally:
            process.kill()


def _work(name: str, seed: int, first: int, count: int) -> int:
    from tests.fuzz.parsers import PARSERS

    parser = next(parser for parser in PARSERS if parser.name == name)
    output = os.fdopen(os.dup(1), "w", buffering=1)
    with tempfile.TemporaryDirectory(prefix="metarl_fuzz_") as place:
        one(parser, seed, -1, Path(place))  # imports everything
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before_mb = _memory_mb()
        for number in range(first, first + count):
            signal.alarm(HANGING_S)
            found = one(parser, seed, number, Path(place))
            found["most_mb"] = _memory_mb() - before_mb
            if found["most_mb"] > MOST_MB:
                found["defects"].append({"input": number, "error": f"memory: {found['most_mb']:.0f} MB"})
            print(json.dumps({**found, "next": number + 1}), file=output)
            if found["most_mb"] > MOST_MB:
                break
    return 0


def one(parser: Any, seed: int, number: int, place: Path) -> dict[str, Any]:
    """Result of one input. The same seed and number give the same input."""
    from tests.fuzz.parsers import check

    random, result = Random(f"{parser.name} {seed} {number}"), _empty()
    result["inputs"] = 1
    with tempfile.TemporaryDirectory(dir=place) as folder:
        read = parser.case(random, Path(folder))
        begin = process_time()
        try:
            result[check(read)] = 1
        except BaseException as error:
            said = "".join(traceback.format_exception(error)[-4:])
            result["defects"].append(
                {"input": number, "error": f"{type(error).__name__}: {str(error)[:200]}", "traceback": said[-1500:]}
            )
        result["slowest_s"] = process_time() - begin
    if result["slowest_s"] > LONGEST_S and number >= 0:
        result["defects"].append({"input": number, "error": f"took {result['slowest_s']:.1f} s"})
    return result


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _table(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"{'parser':<16}{'inputs':>10}{'read':>10}{'refused':>10}{'slowest [s]':>13}{'memory [MB]':>13}{'defects':>9}"
    ]
    for name, result in results.items():
        counts = f"{result['inputs']:>10}{result['read']:>10}{result['refused']:>10}"
        lines.append(
            f"{name:<16}{counts}{result['slowest_s']:>13.2f}{result['most_mb']:>13.0f}{len(result['defects']):>9}"
        )
        lines += [f"    input {defect['input']}: {defect['error']}" for defect in result["defects"][:10]]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
