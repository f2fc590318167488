# SPDX-License-Identifier: Apache-2.0
"""Feature groups of ground vehicles."""
