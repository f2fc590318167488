# SPDX-License-Identifier: Apache-2.0
"""Ground vehicles: wheels on a plane, with a steered axle or with skid steering."""
