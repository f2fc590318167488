# SPDX-License-Identifier: Apache-2.0
"""Runs a node that only watches: until SIGINT, SIGTERM or the end of its launcher."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from threading import Event

import rclpy
from rclpy.signals import SignalHandlerOptions

from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes.launcher_watch import watch_launcher
from metarl_robot.ros_nodes.log_folder import ensure_log_folder
from metarl_robot.ros_nodes.shared_memory import remove_unfinished_ports


def run_watcher(watch: Callable[[Event], None], arguments: Sequence[str]) -> int:
    """Call `watch`, with rclpy initialised by ROS arguments; it returns at the event. Returns the exit status."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    watch_launcher(stop.set)
    ensure_log_folder()
    remove_unfinished_ports()
    rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    try:
        watch(stop)
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0
