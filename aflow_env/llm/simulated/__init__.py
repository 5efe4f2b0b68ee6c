# SPDX-License-Identifier: Apache-2.0
"""The SIMULATED executor of the embedded task."""
