# SPDX-License-Identifier: Apache-2.0
"""Programs over operators: normal form, edits, gate."""
