# SPDX-License-Identifier: Apache-2.0
"""Controllers behind one protocol."""
