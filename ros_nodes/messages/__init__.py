# SPDX-License-Identifier: Apache-2.0
"""ROS 2 messages, services and actions that PyPI lacks, built on demand from their definitions.

A package of definitions is a folder below `definitions/`, named as the package, with `msg/*.msg`, `srv/*.srv` and
`action/*.action`. To add a package, add its folder: nothing else names it.

    provide("control_msgs")                       # installed, or built from our definitions, once per user
    from control_msgs.action import FollowJointTrajectory

Where a full ROS 2 is sourced, its own packages are imported. See provide.py.
"""
