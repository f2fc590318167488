# SPDX-License-Identifier: Apache-2.0
"""`python -m metarl_robot` is the `metarl` command."""

from metarl_robot.cli.entry import main

if __name__ == "__main__":
    main()
