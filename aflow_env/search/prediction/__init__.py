# SPDX-License-Identifier: Apache-2.0
"""Q(s, a): the predicted score of an edit that has not been run."""
