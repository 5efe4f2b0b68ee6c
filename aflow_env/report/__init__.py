# SPDX-License-Identifier: Apache-2.0
"""Statistics, tables and pages over stored runs. It only reads."""
