# SPDX-License-Identifier: Apache-2.0
"""Policies that adapt: meta-policy gradients over families of tasks. Offline only."""
