# SPDX-License-Identifier: Apache-2.0
"""The mpc node and the gate node in one process, for rates at which the hop between two processes takes too long.

The gate has the main thread, its own executor, timers and subscriptions; the mpc node runs in a second thread
(thread_link.py). A controller that hangs, also in native code, thus leaves the gate at work: its rules and its fallback
law are those of the separate gate. Two things are lost. A crash or a kill of the process ends both, and then only the
robot's driver stops the robot. And the threads share Python's global lock: code of a controller that holds it, such as
an extension module that does not release it, also stops the gate.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from threading import Event, Thread

from metarl_robot.ros_nodes import gate, mpc
from metarl_robot.ros_nodes.gate import GateNode
from metarl_robot.ros_nodes.mpc import MpcNode
from metarl_robot.ros_nodes.parameters import StartValues
from metarl_robot.ros_nodes.runtime import run, spin
from metarl_robot.ros_nodes.thread_link import Link
from metarl_robot.ros_nodes.unique_name import claim_name

_JOIN_S = 2.0  # longest wait for the mpc node's thread at the end


def declared(parameters: StartValues) -> None:
    """See Declarer. Raises MetaRLError."""
    gate.declared(parameters.of("gate"))
    mpc.declared(parameters.of("mpc"))


class GateWithMpc(GateNode):
    """A gate node that also runs the mpc node, in a second thread."""

    def __init__(self) -> None:
        link = Link()
        super().__init__(link)
        self._mpc = MpcNode(link)
        self._mpc_ends = Event()
        self._claim = claim_name(self._mpc.context.get_domain_id(), self._mpc.get_fully_qualified_name())
        self._thread = Thread(target=self._run_mpc, name="mpc", daemon=True)
        self._thread.start()

    def _run_mpc(self) -> None:
        if spin(self._mpc, self._mpc_ends.is_set):
            self.failed = True  # it could not start, so nothing was commanded

    def close(self) -> None:
        """End the mpc node; a controller that hangs is left behind, and the process then ends at once."""
        self._mpc_ends.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            print("error: the mpc node does not answer; the process ends without it", file=sys.stderr, flush=True)
            os._exit(1)
        super().close()

    def destroy_node(self) -> None:
        self._mpc.destroy_node()
        self._claim.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the process."""
    return run(GateWithMpc, args)


if __name__ == "__main__":
    raise SystemExit(main())
