# SPDX-License-Identifier: Apache-2.0
"""The option --device: the processor that torch computes on."""

from __future__ import annotations

from typing import Annotated

import typer

AUTO = "auto"

Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where torch computes; auto: on a GPU if there is one. Weights from a GPU differ by rounding.",
    ),
]
