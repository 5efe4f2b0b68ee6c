# SPDX-License-Identifier: Apache-2.0
"""Q_theta as numbers: the digit's expectation, the score that trains it, and how data sharpens it. Pure.

The policy answers the value question with one digit d in 0..9, which stands for d/9. Q_theta is the expectation of
that under its own distribution, so it moves smoothly with the weights, unlike the digit that it would say.
"""

import math
from collections.abc import Sequence

HIGHEST = 9


def digit_value(digit: int) -> float:
    """What a digit says, in [0, 1]."""
    return digit / HIGHEST


def digit_expectation(log_probs: Sequence[float]) -> tuple[float, float]:
    """(expectation in [0, 1], mass) from the ten digits' log-probs (-inf where unknown), renormalised over the digits.

    `mass` is the probability of answering with a digit at all. Without any it is 0 and the expectation 1/2: the policy
    said nothing, and the mean of ignorance is the middle.
    """
    weights = [math.exp(value) for value in log_probs]
    mass = math.fsum(weights)
    if mass <= 0.0:
        return 0.5, 0.0
    expectation = math.fsum(weight * digit_value(digit) for digit, weight in enumerate(weights)) / mass
    return expectation, min(mass, 1.0)


def quadratic_score(said: float, came: float) -> float:
    """1 - (said - came)^2, in [0, 1]: a proper scoring rule, highest on average where `said` is the mean of `came`."""
    return 1.0 - (said - came) ** 2


def shrink(prior: float, realised: Sequence[float], strength: float) -> float:
    """Q = (n0 * Q_theta + sum of realised) / (n0 + n), n0 = `strength`; the prior where there is nothing else."""
    weight = strength + len(realised)
    return prior if weight == 0 else (strength * prior + math.fsum(realised)) / weight
