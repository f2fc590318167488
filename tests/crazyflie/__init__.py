# SPDX-License-Identifier: Apache-2.0
"""A Crazyflie's firmware, as far as a bridge meets it: a stand-in that flies our MuJoCo plant and speaks CRTP."""
