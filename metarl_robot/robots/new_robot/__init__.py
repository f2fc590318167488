# SPDX-License-Identifier: Apache-2.0
"""Parts of making a robot folder from a user's own file that every kind shares."""
