# SPDX-License-Identifier: Apache-2.0
"""verl's trainer with anchors and step rewards, its metrics and its end."""
