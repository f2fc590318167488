# SPDX-License-Identifier: Apache-2.0
"""Entry point of the `metarl` script. It imports the command itself only once Ctrl-C ends it quietly."""

from __future__ import annotations

from metarl_robot.cli.interruption import INTERRUPTED, end_at_once, noted_interrupts


def main() -> None:
    """Run the command; see metarl_robot.cli.app."""
    end_at_once()
    from metarl_robot.cli import app

    try:
        with noted_interrupts():
            app.main()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
