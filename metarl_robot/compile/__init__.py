# SPDX-License-Identifier: Apache-2.0
"""CasADi and C, compiled and called without conversions."""
