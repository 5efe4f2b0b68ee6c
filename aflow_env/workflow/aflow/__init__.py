# SPDX-License-Identifier: Apache-2.0
"""AFlow's folders in and out."""
