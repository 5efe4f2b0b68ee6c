# SPDX-License-Identifier: Apache-2.0
"""Which open proposal a round evaluates."""
