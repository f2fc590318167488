# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes: thin shells around the core, and the only room that imports rclpy.

Importing this package sets AMENT_PREFIX_PATH to this Python's prefix if it is unset: rclpy's wheels install their
packages there without setting it.
"""

import os as _os
import sys as _sys

if _os.path.isdir(_os.path.join(_sys.prefix, "share", "ament_index")):
    _os.environ.setdefault("AMENT_PREFIX_PATH", _sys.prefix)
