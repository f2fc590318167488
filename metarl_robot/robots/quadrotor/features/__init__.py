# SPDX-License-Identifier: Apache-2.0
"""Feature groups of a quadrotor's residual, force [N; world] and torque [Nm; body], one a file.

See adaptation/features.py and adaptation/feature_spec.py.
"""
