# SPDX-License-Identifier: Apache-2.0
"""Files of a training run that can be stopped at any moment: its learning curve and its state.

`<name>.jsonl` has a line for each iteration. `<name>.state` (safetensors) is written after each iteration and removed
at the end; its metadata hold the fingerprint of the settings and the run's facts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from metarl_robot.core.atomic import replace_file
from metarl_robot.core.errors import MetaRLError, one_line

Tensors = dict[str, torch.Tensor]
Restore = Callable[[Tensors, dict[str, Any]], None]


class RunFiles:
    """See the module's docstring.

    Arguments:
        out: folder.
        name: of the files.
        settings: text of all that determines the run; another text is another run.

    Attributes:
        curve: file of the learning curve. checkpoint: file of the trained weights.
    """

    def __init__(self, out: Path, name: str, settings: str) -> None:
        self._out, self._state = out, out / f"{name}.state"
        self.curve, self.checkpoint = out / f"{name}.jsonl", out / f"{name}.safetensors"
        self._fingerprint = hashlib.sha256(settings.encode()).hexdigest()

    def begin(self, resume: bool, restore: Restore) -> None:
        """Restore an interrupted run, with its tensors and facts, if there is one.

        Raises:
            MetaRLError: it is not to be resumed, is damaged or had other settings.
        """
        if not self._state.is_file():
            return
        if not resume:
            raise MetaRLError(
                f"{self._out} holds an interrupted run: go on with --resume, choose another --out, or remove "
                f"{self._state}"
            )
        tensors, metadata = self._read()
        try:
            restore(tensors, json.loads(metadata["facts"]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise MetaRLError(f"{self._state}: damaged ({one_line(error)}); remove it and start anew") from error

    def _read(self) -> tuple[Tensors, dict[str, str]]:
        try:
            with safe_open(self._state, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise MetaRLError(f"{self._state}: not the state of a training run: {one_line(error)}") from error
        if metadata.get("fingerprint") != self._fingerprint:
            raise MetaRLError(
                f"{self._state}: the interrupted run had another family or other settings; use the same, or start anew "
                "without --resume in another --out"
            )
        return tensors, metadata

    def cut_curve(self, iterations: int) -> None:
        """Drop the lines of iterations after so many: their state was not saved before a kill."""
        lines = self.curve.read_bytes().splitlines(keepends=True) if self.curve.is_file() else []
        replace_file(self.curve, b"".join(lines[:iterations]))

    def save(self, iteration: int, metrics: Mapping[str, float], tensors: Tensors, facts: Mapping[str, Any]) -> None:
        """Append a line to the learning curve, and replace the state."""
        with self.curve.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"iteration": iteration, **metrics}) + "\n")
        kept = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        metadata = {"fingerprint": self._fingerprint, "facts": json.dumps(facts)}
        replace_file(self._state, to_bytes(kept, metadata))

    def curve_sha256(self) -> str:
        """Hash of the learning curve."""
        return hashlib.sha256(self.curve.read_bytes()).hexdigest()

    def finish(self) -> None:
        """Remove the state."""
        self._state.unlink(missing_ok=True)
