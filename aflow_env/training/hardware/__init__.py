# SPDX-License-Identifier: Apache-2.0
"""The plan of a training: memory, time and cost by formula."""
