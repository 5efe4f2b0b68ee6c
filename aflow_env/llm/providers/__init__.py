# SPDX-License-Identifier: Apache-2.0
"""The wire formats of servers."""
