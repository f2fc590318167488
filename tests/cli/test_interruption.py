# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C waits for a moment that suits, but not for ever."""

from __future__ import annotations

import os
import signal

import pytest

from metarl_robot.cli.interruption import deferred_interrupt


def test_the_first_one_waits_until_asked() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as stop_if_asked:
        stop_if_asked()
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the step that was begun")
        stop_if_asked()
        done.append("another step")
    assert done == ["the step that was begun"]


def test_the_second_one_does_not_wait() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        done.append("more")
    assert done == []


def test_afterwards_everything_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
