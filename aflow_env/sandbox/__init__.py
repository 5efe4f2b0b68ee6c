# SPDX-License-Identifier: Apache-2.0
"""Jailed processes in which generated code runs."""
