# SPDX-License-Identifier: Apache-2.0
"""`python -m aflow_env.cli`: the command line where no console script is on the path."""

from aflow_env.cli import main

main()
