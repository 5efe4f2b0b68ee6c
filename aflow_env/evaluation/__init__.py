# SPDX-License-Identifier: Apache-2.0
"""A workflow on problems: outcomes, score, interval."""
