# SPDX-License-Identifier: Apache-2.0
"""The layers of the kernel that confine a process: limits, Landlock, seccomp."""
