# SPDX-License-Identifier: Apache-2.0
"""The checks of a training before Ray starts."""
