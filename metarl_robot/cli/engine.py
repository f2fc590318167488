# SPDX-License-Identifier: Apache-2.0
"""The option --ray: where a command's independent work runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metarl_robot.parallel.engine import Engine

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="auto|ADDRESS",
        help="Run on the Ray cluster whose head is at HOST:PORT; auto: the one of this machine, else one made for this "
        "run. The results are the same.",
    ),
]


@contextmanager
def engine(ray: str | None) -> Iterator[Engine | None]:
    """The engine that --ray names; None: the command's own default on this machine."""
    if ray is None:
        yield None
        return
    from metarl_robot.parallel.ray_cluster import ray_cluster

    with ray_cluster(ray) as cluster:
        yield cluster
