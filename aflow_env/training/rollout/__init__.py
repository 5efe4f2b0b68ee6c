# SPDX-License-Identifier: Apache-2.0
"""A search as verl plays it: agent loop, policy, rows."""
