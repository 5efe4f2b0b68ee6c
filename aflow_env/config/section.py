# SPDX-License-Identifier: Apache-2.0
"""The base of all nodes of the config: a strict section, and the kinds of values with their largest ones."""

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MANY = 1_000_000
"""The most of anything that a run counts one by one: rounds, problems, workers, megabytes."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0, le=MANY)]
Seconds = Annotated[float, Field(gt=0.0, le=100 * MANY)]
Count = Annotated[int, Field(ge=1, le=MANY)]
CountOrZero = Annotated[int, Field(ge=0, le=MANY)]
Total = Annotated[int, Field(ge=0, le=1000 * MANY**2)]
"""A ceiling of a sum: tokens, calls."""
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A number that SQLite can store."""
Place = Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)]
"""The path of a file or a folder. `~` is the user's home."""


class Section(BaseModel):
    """A node of the config: frozen, strict about unknown keys, and without infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
