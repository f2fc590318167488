# SPDX-License-Identifier: Apache-2.0
"""Options of a robot's messages: names of frames, mounting of the IMU, clock of the states' stamps.

They are parameters of the nodes and the same for all nodes of a robot: set them under `/**` in a file for `params:=`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import BaseModel, Field

from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes.parameters import fixed

ANY = "*"
_FRAME = "; empty: that of robot.yaml; '*': any is accepted, also an empty one"

Part = Annotated[float, Field(ge=-1.0, le=1.0)]
Distance = Annotated[float, Field(ge=-10.0, le=10.0)]


class OptionsError(MetaRLError):
    """Options of a node contradict each other."""


@dataclass(frozen=True)
class MessageOptions:
    """Options of FrameParameters and SensorParameters. frame_prefix: of the frames that the robot's files name."""

    world_frame: str = ""
    base_frame: str = ""
    imu_frame: str = ""
    imu_rotation_wxyz: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
    imu_position_m: tuple[float, ...] = (0.0, 0.0, 0.0)
    stamp_on_arrival: bool = False
    dynamic_joint_states: bool = False
    odometry_frame: str = ""
    localiser_topic: str = ""
    use_imu: bool = False
    frame_prefix: str = ""


class FrameParameters(BaseModel):
    """Names of frames; joint states have none."""

    world_frame: str = fixed("", description="frame_id of odometry and references" + _FRAME)
    base_frame: str = fixed("", description="child_frame_id of odometry, joint name of references" + _FRAME)
    imu_frame: str = fixed(
        "", description="frame_id of the IMU; empty: base_frame; '*': any is accepted, also an empty one"
    )
    odometry_frame: str = fixed(
        "",
        description="frame_id of odometry, if a localiser (localiser_topic) gives poses in world_frame; empty: "
        "world_frame; '*': any is accepted, also an empty one",
    )
    frame_prefix: str = fixed(
        "",
        description="prefix of the frames that robot.yaml and robot.xml name, as robot_state_publisher's; empty: the "
        "node's namespace, as in 'left/odom'; '/': none",
    )


class SensorParameters(BaseModel):
    """Interpretation of a robot's measurements."""

    imu_rotation_wxyz: tuple[Part, ...] = fixed(
        (1.0, 0.0, 0.0, 0.0),
        min_length=4,
        max_length=4,
        description="mounting of the IMU: quaternion w, x, y, z that turns vectors in its axes into the base's",
    )
    imu_position_m: tuple[Distance, ...] = fixed(
        (0.0, 0.0, 0.0),
        min_length=3,
        max_length=3,
        description="mounting of the IMU: its position in the base frame [m]",
    )
    stamp_on_arrival: bool = fixed(
        False,
        description="real time: states are stamped on arrival, for drivers with unusable stamps; set it on mpc and "
        "gate. Delay and jitter of the transport then count as motion, and old states look fresh",
    )
    dynamic_joint_states: bool = fixed(
        False,
        description="arms: states are read from dynamic_joint_states (control_msgs/DynamicJointState) instead of "
        "joint_states; set it on mpc and gate",
    )
    localiser_topic: str = fixed(
        "",
        description="ground vehicles: topic of a localiser's poses (geometry_msgs/PoseWithCovarianceStamped, such as "
        "amcl_pose) in world_frame, which correct odometry's drift; empty: none",
    )
    use_imu: bool = fixed(
        False,
        description="ground vehicles with a localiser: estimate the velocity of slipping wheels by an IMU on imu/data",
    )


def message_options(parameters: BaseModel, namespace: str = "/") -> MessageOptions:
    """The options among a node's parameters. namespace: of the node, absolute. Raises OptionsError."""
    named = {field.name for field in fields(MessageOptions)}
    given = {key: value for key, value in parameters.model_dump().items() if key in named}
    prefix = given.get("frame_prefix") or f"{namespace}/"
    options = MessageOptions(**{**given, "frame_prefix": prefix.lstrip("/")})
    if options.stamp_on_arrival and getattr(parameters, "lockstep", False):
        raise OptionsError(
            "stamp_on_arrival needs lockstep:=false: in lockstep the stamps say which command answers which state"
        )
    if options.odometry_frame and "localiser_topic" in given and not options.localiser_topic:
        raise OptionsError(
            f"odometry_frame is '{options.odometry_frame}' without a localiser: set localiser_topic, or world_frame "
            "for the frame of odometry and references"
        )
    if options.use_imu and "localiser_topic" in given and not options.localiser_topic:
        raise OptionsError(
            "use_imu needs a localiser, against whose poses the IMU's errors are estimated: set localiser_topic, or "
            "use_imu to false"
        )
    return options
