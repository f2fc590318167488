# SPDX-License-Identifier: Apache-2.0
"""Families of tasks for policies, one short file each; registered in learning/policies/family.py."""
