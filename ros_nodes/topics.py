# SPDX-License-Identifier: Apache-2.0
"""Every topic and service of the nodes, with its quality of service.

Names are relative or private, so all can be remapped. A named table is a std_msgs/Float64MultiArray (core/tables.py).

    topic (as launched)              type                             from → to

    an arm
    /joint_states                    sensor_msgs/JointState           plant or driver → mpc, gate
    /effort_controller/commands      std_msgs/Float64MultiArray       gate → plant or forward_command_controller:
                                     named table, row `effort`, columns joints, stamp of the state that it answers
    /gate/command                    sensor_msgs/JointState           mpc → gate: effort, stamp of the state that it
                                     answers
    /mpc/joint_trajectory            trajectory_msgs/JointTrajectory  reference → mpc
    /mpc/setpoint                    sensor_msgs/JointState           mpc: the reference at each state's stamp
    /mpc/plan                        trajectory_msgs/JointTrajectory  mpc: the controller's plan

    a floating base, such as a quadrotor
    /odom                            nav_msgs/Odometry                plant or driver → mpc, gate: pose in `odom`,
                                     twist in `base_link`
    /imu/data                        sensor_msgs/Imu                  plant or driver → mpc, gate; at any rate
    /thrust_controller/commands      std_msgs/Float64MultiArray       gate → plant or driver: thrust of each rotor [N];
                                     named table, row `effort`, columns rotors, stamp of the state that it answers;
                                     all 0: motors off
    /gate/command                    std_msgs/Float64MultiArray       mpc → gate: a table of the same form
    /mpc/reference                   trajectory_msgs/MultiDOFJointTrajectory  reference → mpc: position and yaw, in
                                     `odom`
    /mpc/reference_path              nav_msgs/Path                    → mpc: the same; the poses' stamps are its times
    /mpc/setpoint                    nav_msgs/Odometry                mpc: the reference at each state's stamp
    /mpc/plan                        nav_msgs/Path                    mpc: the controller's plan

    both
    /gate/state                      diagnostic_msgs/DiagnosticStatus gate → all, latched: state, reason, latched
    /mpc/reference_status            diagnostic_msgs/DiagnosticStatus mpc, latched, for each reference: id (stamp and
                                     frame of its header), topic, accepted, reason, begins_s, ends_s, time_s
    /mpc/step                        std_msgs/Float64MultiArray       mpc: named table, row `value`: see STEP_COLUMNS
    /mpc/context                     std_msgs/Float64MultiArray       mpc: named table, rows `mean`, `std`
    /mpc/payload                     geometry_msgs/InertiaStamped     mpc: payload estimate, inertia about its centre
                                     of mass
    /plant/truth                     std_msgs/Float64MultiArray       plant: named table, row `value`: see
                                     plant.truth_columns
    /clock                           rosgraph_msgs/Clock              plant → all
    /diagnostics                     diagnostic_msgs/DiagnosticArray  all, 1 Hz

    service                          type
    /gate/estop, /gate/rearm         std_srvs/Trigger
    /plant/reset_world, /plant/step  std_srvs/Trigger
    /plant/set_pause                 std_srvs/SetBool

Publishers are reliable (/clock excepted). Subscribers that need only the newest state use best effort with depth 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

JOINT_STATES = "joint_states"
COMMANDS = "effort_controller/commands"
ODOMETRY = "odom"
IMU = "imu/data"
THRUSTS = "thrust_controller/commands"
GATE_COMMAND = "gate/command"
GATE_STATE = "gate/state"
JOINT_REFERENCE = "mpc/joint_trajectory"
POSE_REFERENCE = "mpc/reference"
PATH_REFERENCE = "mpc/reference_path"
SETPOINT = "mpc/setpoint"
REFERENCE_STATUS = "mpc/reference_status"
STEP = "mpc/step"
CONTEXT = "mpc/context"
PAYLOAD = "mpc/payload"
PLAN = "mpc/plan"
TRUTH = "plant/truth"
CLOCK = "/clock"
DIAGNOSTICS = "/diagnostics"

# status: 0 solved, 1 degraded, 2 failed; late: 1 if the step missed its deadline
STEP_COLUMNS = ("step_ms", "status", "late")


def _profile(reliable: bool, depth: int, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


STATE_OUT = _profile(reliable=True, depth=1000)  # deep enough for a recorder that is delayed
STATE_IN = _profile(reliable=False, depth=1)
IMU_IN = _profile(reliable=False, depth=50)  # all since the last state are averaged
COMMAND = _profile(reliable=True, depth=1)
CLOCK_OUT = _profile(reliable=False, depth=1)
LATCHED = _profile(reliable=True, depth=1, latched=True)
EVENTS = _profile(reliable=True, depth=10, latched=True)  # late subscribers receive the last ones
REPORT = _profile(reliable=True, depth=1000)
REFERENCE_QOS = _profile(reliable=True, depth=5)

RECORDED: Mapping[str, tuple[str, QoSProfile]] = {
    GATE_STATE: ("diagnostic_msgs/msg/DiagnosticStatus", LATCHED),
    REFERENCE_STATUS: ("diagnostic_msgs/msg/DiagnosticStatus", EVENTS),
    STEP: ("std_msgs/msg/Float64MultiArray", REPORT),
    CONTEXT: ("std_msgs/msg/Float64MultiArray", REPORT),
    PAYLOAD: ("geometry_msgs/msg/InertiaStamped", REPORT),
    TRUTH: ("std_msgs/msg/Float64MultiArray", REPORT),
    CLOCK: ("rosgraph_msgs/msg/Clock", CLOCK_OUT),
    DIAGNOSTICS: ("diagnostic_msgs/msg/DiagnosticArray", REPORT),
}
"""Topics that a recorder subscribes to before they have a publisher, so that it misses no message.

An interface adds its own.
"""
