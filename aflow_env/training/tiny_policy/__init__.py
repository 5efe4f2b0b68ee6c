# SPDX-License-Identifier: Apache-2.0
"""A small Qwen2-architecture policy that the package builds itself."""
