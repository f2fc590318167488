# SPDX-License-Identifier: Apache-2.0
"""Controllers, their protocol and their registry."""
