# SPDX-License-Identifier: Apache-2.0
"""Learning curves for TensorBoard, where it is installed: `tensorboard --logdir runs/policies`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from metarl_robot.learning.policies.algorithm import Metrics

Log = Callable[[int, Metrics], None]
"""Receives the iteration and its metrics."""


@contextmanager
def event_file(folder: Path, curve: Path) -> Iterator[Log]:
    """Write metrics to a new event file in `folder`, which replaces that of an interrupted run.

    Arguments:
        curve: JSON lines of the iterations so far; they are written first.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        yield lambda iteration, metrics: None
        return
    rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder), flush_secs=10) as writer:

        def log(iteration: int, metrics: Metrics) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, iteration)

        for line in curve.read_text(encoding="utf-8").splitlines():
            done = json.loads(line)
            log(done.pop("iteration"), done)
        yield log
