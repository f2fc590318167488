# SPDX-License-Identifier: Apache-2.0
"""The `metarl` command."""
