# SPDX-License-Identifier: Apache-2.0
"""Using a workflow that was found: run it on a file, serve it, and begin a task of your own."""
