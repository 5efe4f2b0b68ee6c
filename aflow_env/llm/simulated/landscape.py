# SPDX-License-Identifier: Apache-2.0
"""The parameters of the simulated executor, typed. conf/aflow/landscape.yaml has and explains the values.

Effects are in logits.
"""

from pathlib import Path

from aflow_env.config import config_directory, read_yaml
from aflow_env.config.section import NonNegative, Section, Share


class Ability(Section):
    """Logit at one operation, and the loss for each further one."""

    skill: float
    slope: float


class CodeAbility(Ability):
    """As Ability. `crash` is the probability of code that raises."""

    crash: Share


class PlanAbility(Ability):
    """As Ability. `carried`: a right list is there already (minus: a wrong one). `checked`: a list is to be checked."""

    carried: float
    checked: float


class Cue(Section):
    """A request of an instruction. Each of `words` is a set of word beginnings that one sentence must have."""

    effect: float
    words: tuple[str, ...]


class TextEffects(Section):
    """The effects of an earlier text on the next reply."""

    plan_right: float
    plan_wrong: float
    right_with_work: float
    right_bare: float
    wrong_with_work: float
    wrong_bare: float


class EarlierEffects(TextEffects):
    """As TextEffects, and the effect of the cue `check` when the steps are shown."""

    checked_right: float
    checked_wrong: float


class ReviewOdds(Section):
    """Probabilities that a review rejects a solution."""

    catch_with_work: Share
    catch_bare: Share
    alarm_with_work: Share
    alarm_bare: Share


class ReviseEffects(Section):
    """The effects of a review on the revision after it."""

    caught_with_work: float
    caught_bare: float
    false_alarm: float
    unreviewed: float


class VoteOdds(Section):
    """The probability that an ensemble counts right."""

    reliability: Share


class Landscape(Section):
    """All parameters."""

    text: Ability
    code: CodeAbility
    plan: PlanAbility
    cues: dict[str, Cue]
    cue_ceiling: NonNegative
    earlier: EarlierEffects
    analysis: TextEffects
    retry: float
    review: ReviewOdds
    revise: ReviseEffects
    vote: VoteOdds
    common_slip: Share
    shared_noise: Share
    greedy_repeats: bool
    usd_per_million_input: NonNegative
    usd_per_million_output: NonNegative


def load_landscape(path: str | None = None) -> Landscape:
    """Return the landscape of a YAML file; None: of the one that ships with the package. Raises ConfigError."""
    file = config_directory() / "aflow" / "landscape.yaml" if path is None else Path(path).expanduser()
    return read_yaml(file, Landscape, f"executor.landscape={path!r}")
