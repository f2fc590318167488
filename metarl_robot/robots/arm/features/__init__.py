# SPDX-License-Identifier: Apache-2.0
"""Feature groups of an arm's residual, one a file; see adaptation/features.py and adaptation/feature_spec.py."""
