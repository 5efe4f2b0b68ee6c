# SPDX-License-Identifier: Apache-2.0
"""The far side of the pipe: what runs in, and starts, a jailed process. Standard library only."""
