# SPDX-License-Identifier: Apache-2.0
"""One process a job, resumable."""
