# SPDX-License-Identifier: Apache-2.0
"""One owner of the files of a run, for workers on many nodes."""
