# SPDX-License-Identifier: Apache-2.0
"""aflow_env: a verl plugin that searches for better agentic workflows with a policy that learns by GiGPO."""

__version__ = "0.1.0"
