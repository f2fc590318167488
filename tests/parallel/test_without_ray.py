# SPDX-License-Identifier: Apache-2.0
"""Without the extra, --ray and --engine rllib say in one sentence how to install it; what does not fit is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules['ray'] = None; from metarl_robot.cli.app import main; main()"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("eval", "planar2", "--ray", "auto"),
            "this needs ray, which is not installed: pip install 'metarl_robot[ray]'",
        ),
        (
            ("train-policy", "point-navigation", "--algo", "rl2", "--engine", "rllib"),
            "this needs RLlib, which is not installed: pip install 'metarl_robot[rllib]'",
        ),
        (
            ("train-policy", "point-navigation", "--engine", "rllib"),
            "--engine rllib trains rl2; --algo is maml_pg",
        ),
        (("train-policy", "point-navigation", "--ray", "auto"), "--ray with --groups 1 would run on one processor"),
    ],
)
def test_the_remedy_is_named(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
