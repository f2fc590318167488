# SPDX-License-Identifier: Apache-2.0
"""Reliable messages that a busy process has lost arrive before their sender ends (launch/fastrtps.xml)."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.ros_nodes.runtime import HEARD_WITHIN_S
from tests.ros.conftest import free_domain

COUNT = 900
"""Messages, more than shared memory queues for a process (512), fewer than the publisher keeps (1000)."""

READER = """
import rclpy, sys
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64
rclpy.init()
node, got = rclpy.create_node("reader"), []
node.create_subscription(Float64, "numbers", lambda message: got.append(message.data), QoSProfile(depth=1000))
print("ready", flush=True)
while len(got) < int(sys.argv[1]):
    rclpy.spin_once(node, timeout_sec=0.1)
assert got == sorted(got)
"""

WRITER = """
import os, rclpy, signal, sys, time
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64
reader, count, wait_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
rclpy.init()
node = rclpy.create_node("writer")
publisher = node.create_publisher(Float64, "numbers", QoSProfile(depth=1000))
while publisher.get_subscription_count() == 0:
    time.sleep(0.01)
os.kill(reader, signal.SIGSTOP)
for number in range(count):
    if number == count - 20:
        os.kill(reader, signal.SIGCONT)
    publisher.publish(Float64(data=float(number)))
    time.sleep(0.0005 if number < count - 20 else 0.01)
heard = publisher.wait_for_all_acked(Duration(seconds=wait_s))
print("heard" if heard else "not heard")
"""


@pytest.mark.real_time  # a busy machine delays the reader beyond the wait
def test_messages_that_a_busy_subscriber_lost_arrive_before_the_publisher_ends() -> None:
    environment = {**node_environment(), "ROS_DOMAIN_ID": str(free_domain())}
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(COUNT)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
        arguments = [str(reader.pid), str(COUNT), str(HEARD_WITHIN_S)]
        writer = subprocess.run(
            [sys.executable, "-c", WRITER, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
        assert writer.stdout == "heard\n", writer.stderr
        assert reader.wait(timeout=60) == 0
    finally:
        reader.send_signal(signal.SIGCONT)
        reader.kill()
        reader.wait()
