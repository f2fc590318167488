# SPDX-License-Identifier: Apache-2.0
"""Reports of the adapter's context that several kinds of robot publish."""
