# SPDX-License-Identifier: Apache-2.0
"""Rows, advantages and rewards: pure tensors."""
