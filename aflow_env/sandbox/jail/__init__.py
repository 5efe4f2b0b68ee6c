# SPDX-License-Identifier: Apache-2.0
"""The far side of the pipe: the code that starts a jailed process and runs in it. Standard library only."""
