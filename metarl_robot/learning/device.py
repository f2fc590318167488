# SPDX-License-Identifier: Apache-2.0
"""The processor that torch computes on. A GPU is used where there is one, and never needed."""

from __future__ import annotations

import torch

from metarl_robot.core.errors import MetaRLError, UnknownNameError

DEVICES = ("auto", "cpu", "cuda")


def chosen_device(name: str) -> torch.device:
    """The device of a name; auto: a GPU if torch finds one.

    Raises:
        UnknownNameError: no such device.
        MetaRLError: torch finds no GPU.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, DEVICES)
    found = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not found:
        raise MetaRLError(
            f"--device cuda: torch {torch.__version__} finds no GPU here; use --device cpu or auto, or install a torch "
            "that is built for CUDA beside NVIDIA's driver"
        )
    return torch.device("cuda" if found else "cpu")
