# SPDX-License-Identifier: Apache-2.0
"""The state of a node, and the edits that are proposed from it."""
