# SPDX-License-Identifier: Apache-2.0
"""What all nodes of the config are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A node of the config: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
