# SPDX-License-Identifier: Apache-2.0
"""The parameters of the simulated executor, typed; conf/aflow/landscape.yaml holds and explains the values."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aflow_env.config import config_directory, explain
from aflow_env.errors import ConfigError

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Price = Annotated[float, Field(ge=0.0)]


class Part(BaseModel):
    """A node of the landscape: frozen, and strict about unknown keys. Effects are in logits."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ability(Part):
    """Logit at one operation, and what each further one costs."""

    skill: float
    slope: float


class CodeAbility(Ability):
    """As Ability; `crash` is the probability of code that raises."""

    crash: Probability


class PlanAbility(Ability):
    """As Ability; `carried`: a right list is there already (minus: a wrong one); `checked`: a list is to be checked."""

    carried: float
    checked: float


class Cue(Part):
    """Something an instruction may ask for. Each of `words` is a set of word beginnings that one sentence must hold."""

    effect: float
    words: tuple[str, ...]


class TextEffects(Part):
    """What an earlier text does to the next reply, by what stands in it."""

    plan_right: float
    plan_wrong: float
    right_with_work: float
    right_bare: float
    wrong_with_work: float
    wrong_bare: float


class EarlierEffects(TextEffects):
    """As TextEffects, and what the cue `check` adds when the steps are shown."""

    checked_right: float
    checked_wrong: float


class ReviewOdds(Part):
    """Probabilities that a review rejects a solution."""

    catch_with_work: Probability
    catch_bare: Probability
    alarm_with_work: Probability
    alarm_bare: Probability


class ReviseEffects(Part):
    """What the review before a revision does to it."""

    caught_with_work: float
    caught_bare: float
    false_alarm: float
    unreviewed: float


class Vote(Part):
    """How well an ensemble counts."""

    reliability: Probability


class Landscape(Part):
    """All of it."""

    text: Ability
    code: CodeAbility
    plan: PlanAbility
    cues: dict[str, Cue]
    cue_ceiling: Annotated[float, Field(ge=0.0)]
    earlier: EarlierEffects
    analysis: TextEffects
    retry: float
    review: ReviewOdds
    revise: ReviseEffects
    vote: Vote
    common_slip: Probability
    shared_noise: Probability
    greedy_repeats: bool
    usd_per_million_input: Price
    usd_per_million_output: Price


def landscape_file(path: str | None = None) -> Path:
    """Where the landscape of `executor.landscape` is; None: the one that ships with the package."""
    return config_directory() / "aflow" / "landscape.yaml" if path is None else Path(path).expanduser()


def load_landscape(path: str | None = None) -> Landscape:
    """The landscape of a YAML file; None: the one that ships with the package. Raises ConfigError."""
    file = landscape_file(path)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Landscape.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error, '')}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"executor.landscape={path!r}: {file} cannot be read: {error}") from None
