# SPDX-License-Identifier: Apache-2.0
"""q.kind=prior: Q_theta of a node is how likely the policy finds the edit that made it, whoever proposed that.

    P(i) = exp( (1 / |a_i|) sum_t log pi(a_it | a_i,<t, s_parent) )        in [0, 1], normalised for length

s_parent is the parent as it was before anything was tried from it, so that no experience gives the edit away. With the
shrinkage that every Q goes through, Q(i) = (n0 P(i) + sum of children's scores) / (n0 + n_i), the prior counts less the
more often a node was expanded: the role of P / (1 + n) in PUCT (Rosin 2011; Silver et al. 2017). A start workflow was
proposed by nobody and gets the mean of the others, 1/2 when it is alone: neither favoured nor shunned.

Honest limits: P is about the edit, not about what comes after it. It costs one request a selection, with prompt
log-probabilities, which the server's prefix cache does not help. Nothing is trained for it: the edit rows train it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from aflow_env.search.proposal import Belief, Origin, State, action_messages
from aflow_env.training.rollout.policy import RolloutPolicy

ALONE = 0.5


@dataclass(frozen=True)
class PriorBeliever:
    """The policy that is being trained, as judge of the edits that made the nodes."""

    policy: RolloutPolicy
    longest: int
    """Tokens of an edit that are judged; a longer one is cut."""

    async def believe(self, states: Sequence[State]) -> list[Belief]:
        """P of each state, in [0, 1]. Raises InfrastructureError when the server does not answer."""
        origins = [state.origin for state in states if state.origin]
        found = dict(zip(origins, await self._likelihoods(origins), strict=True))
        start = fmean(found.values()) if found else ALONE
        return [Belief(found[state.origin] if state.origin else start, 1.0) for state in states]

    async def _likelihoods(self, origins: Sequence[Origin]) -> list[float]:
        prompts = [self.policy.fit(partial(action_messages, origin.parent)) for origin in origins]
        encode = partial(self.policy.tokenizer.encode, add_special_tokens=False)
        answers = [tuple(encode(origin.edit)[: self.longest]) for origin in origins]
        return [likelihood(found) for found in await self.policy.log_probs(list(zip(prompts, answers, strict=True)))]


def likelihood(log_probs: Sequence[float]) -> float:
    """The geometric mean of the tokens' probabilities, in [0, 1]; of an empty edit 0: nobody would say nothing."""
    return math.exp(fmean(log_probs)) if log_probs else 0.0
