# SPDX-License-Identifier: Apache-2.0
"""What a run knows: one SQLite file of sessions, nodes, proposals, results and completions."""
