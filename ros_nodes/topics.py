# SPDX-License-Identifier: Apache-2.0
"""Every topic and service of the nodes, with its quality of service.

Names are relative or private, so all can be remapped. A named table is a std_msgs/Float64MultiArray (core/tables.py).

    topic (as launched)              type                             from → to

    /gate/command                    the kind's                       mpc → gate: effort, stamp of the state that it
                                     answers
    /mpc/setpoint                    the kind's                       mpc: the reference at each state's stamp
    /mpc/plan                        the kind's                       mpc: the controller's plan
    /robot_description               std_msgs/String                  mpc, latched: the robot as a URDF
    /gate/state                      diagnostic_msgs/DiagnosticStatus gate → all, latched: state, reason, latched
    /mpc/reference_status            diagnostic_msgs/DiagnosticStatus mpc, latched, for each reference: id (stamp and
                                     frame of its header), topic, accepted, reason, begins_s, ends_s, time_s
    /mpc/step                        std_msgs/Float64MultiArray       mpc: named table, row `value`: see STEP_COLUMNS
    /mpc/context                     std_msgs/Float64MultiArray       mpc: named table, rows `mean`, `std`
    /mpc/<report>                    the kind's                       mpc: reports of the context
    /mpc/contact                     std_msgs/Float64MultiArray       mpc: named table, row `value`: see
                                     CONTACT_COLUMNS; if the controller estimates it
    /mpc/<external>                  the kind's                       mpc: the external force
    /plant/truth                     std_msgs/Float64MultiArray       plant: named table, row `value`: see
                                     plant.truth_columns
    /payload_sharer/load             geometry_msgs/InertiaStamped     payload_sharer → mpc, latched: the load that the
                                     robot's driver compensates, see bridges/payload_sharer.py
    /tf, /tf_static, /scene/markers  see scene.py                     scene: frames and markers for RViz and Foxglove
    /clock                           rosgraph_msgs/Clock              one plant → all
    /clock/request                   std_msgs/Header                  the other plants → that one: see shared_clock.py
    /diagnostics                     diagnostic_msgs/DiagnosticArray  all, 1 Hz

    service                          type
    /gate/estop, /gate/rearm         std_srvs/Trigger
    /mpc/switch_controller           rcl_interfaces/SetParametersAtomically: answers when the change is at work
    /plant/reset_world, /plant/step  std_srvs/Trigger
    /plant/set_pause                 std_srvs/SetBool

Measurements, commands that drive the robot, references, reports and external forces are the kind's own: see
arm/interface.py, quadrotor/interface.py, ground/interface.py.

Publishers are reliable (/clock excepted). Subscribers that need only the newest state use best effort with depth 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from metarl_robot.core.external_force import Contact

GATE_COMMAND = "gate/command"
GATE_STATE = "gate/state"
SETPOINT = "mpc/setpoint"
REFERENCE_STATUS = "mpc/reference_status"
STEP = "mpc/step"
CONTEXT = "mpc/context"
PLAN = "mpc/plan"
DESCRIPTION = "robot_description"
CONTACT = "mpc/contact"
ACCEPTED_LOAD = "payload_sharer/load"
TRUTH = "plant/truth"
TF, TF_STATIC = "/tf", "/tf_static"
CLOCK = "/clock"
CLOCK_REQUEST = "/clock/request"
DIAGNOSTICS = "/diagnostics"

# status: 0 solved, 1 degraded, 2 failed; late: 1 if the step missed its deadline
STEP_COLUMNS = ("step_ms", "status", "late")
# contact: 0 none, 1 undecided, 2 contact (core/external_force.py)
CONTACT_COLUMNS = ("contact",)
CONTACT_CODES = {Contact.NONE: 0.0, Contact.UNDECIDED: 1.0, Contact.CONTACT: 2.0}


def report(name: str) -> str:
    """Topic of a report of the mpc node."""
    return f"mpc/{name}"


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
    CONTACT: ("std_msgs/msg/Float64MultiArray", REPORT),
    TRUTH: ("std_msgs/msg/Float64MultiArray", REPORT),
    CLOCK: ("rosgraph_msgs/msg/Clock", CLOCK_OUT),
    DIAGNOSTICS: ("diagnostic_msgs/msg/DiagnosticArray", REPORT),
}
"""Topics that a recorder subscribes to before they have a publisher, so that it misses no message.

A robot has more: see recorder.expected_topics.
"""
