# SPDX-License-Identifier: Apache-2.0
"""The peers, each in one file: the same problem in their words."""
