# SPDX-License-Identifier: Apache-2.0
"""Measure the gain of predicting an edit's score before it is run. The embedded task, a SIMULATED executor.

    python -m recipe.evidence.edits [--part PART] [--seeds 60] [--table]

Registered before the first run of these arms. The settings of the ridge were chosen beforehand on searches of other
seeds (10000 to 10023 for the fit, 20000 to 20011 to judge it); seeds 30000 and 40000 served to try the code out.

Question. A search draws random edits. Does it find better workflows for the same executor calls when it draws several
edits, predicts each one's score by a ridge on the steps (aflow_env/search/prediction/surrogate.py), and runs the best?

Predictor. A ridge on the 447 evaluations of 24 stock random searches of 20 rounds on other problems (seeds 10000 to
10023), and on what the search itself has seen. It is fitted anew in each round.

Arms, paired by seed 0 to 59; a seed decides the problems, the executor's luck and the draws.
    stock                       AFlow's selection (w = 0, c_ucb = 0), one random edit
    control                     the same with 8 distinct edits of the node, one of them drawn evenly
    rank 8, rank 32             AFlow's selection of the node, the best of its 8 or 32 edits by Q
    joint MIX w=W               up to 16 nodes with 8 open edits each, c = (1 - w) * UCB + w * Q with c_ucb = 0.1, for
                                w = 0, 0.25, 0.5, 0.75, 1. MIX is `all`: AFlow's soft mix over all pairs; or `best`:
                                over the best 4 pairs, of which one is the best of round 1's
    restarts                    as many stock searches of at most 300 calls as fit into 600 calls
Secondary, seeds 0 to 29: `nodes` (the best 4 nodes, each with its best pair) and `top` (the best pair), other numbers
of nodes and edits, 8 fresh edits in each round, c_ucb = 0, and smaller logs: none, 40, 150 evaluations.

Endpoints. Score on 60 held-out test problems of the workflow that is best by validate score (a) at 600 executor calls,
the start's included, (b) at 8 rounds. Beside them: (c) at 20 rounds, seeds 0 to 29, and the Spearman correlation among
siblings between the prediction and the realised validate score, in searches of the arms `stock` and `control`.

Reading. Mean difference to `stock` with a 95 % t interval, n = 60. Yes: `rank 8` or a joint arm gains at least +0.05 at
600 calls, its interval excluding 0. No: all of them below +0.05; then nothing is built on it. Which MIX becomes the
library's is decided by the mean of (a) over w = 0.25 to 1, and by whether (a) rises with w. Nothing is corrected for
the number of arms, so the best of the secondary arms is a hint and no finding.

Follow-up (`--part follow`, seeds 100 to 159, registered before its first run, after the first 23 seeds of the above).
With these seeds `all` led at w >= 0.5 and rose with w. Does another setting beat it at w = 0.75? Arms: w = 1, 32 edits,
4 nodes, alpha = 0.4, lambda = 0, a price of 0.01 for each executor call of the child beyond the first (counted from its
steps), probabilities divided by these calls, and `best` with 32 edits, with 16 pairs, with the price. Endpoints (a) and
(b). A setting replaces the base only where its paired difference to `all` at (a) excludes 0.

Confirmation (`--part confirm`, seeds 200 to 259, registered before its first run, after the follow-up). Of the
follow-up's twelve settings one differed from the base: probabilities divided by calls, +0.057±0.042 at (a). It is
chosen as the best of twelve, so it is run again: `all` with it at w = 0, 0.25, 0.5, 0.75, 1, and without it at
w = 0.75. Endpoints (a) and (b). It becomes the library's only where its difference at w = 0.75 excludes 0 again, and
what Q is worth in it is the difference of w = 0.75 to w = 0.

The library's rule (`--part library`, seeds 300 to 359, registered before its first run). Probabilities divided by calls
are in the library. So is a second change: with fewer than 40 evaluations to learn from, a round draws one edit of the
node that AFlow selects. Arms: the library's rule at w = 0, 0.25, 0.5, 0.75, 1, and at w = 0.5 and 1 without a log.
Endpoints (a) and (b). Reading: the rule gains over `stock` where its interval excludes 0; Q alone is worth the
difference of w = 1 to w = 0; the score rises with w where the five means do, but for differences below 0.01.

Traps (`--part traps`, seeds 400 to 459, registered before its first run). The same arms but those without a log, and
`restarts`, on conf/aflow/landscape_traps.yaml, where edits look useless until a second one follows; the log is of 24
stock searches there. Q is the child's own score. Expected: less than on the standard landscape, since the first edit of
the pair that pays is predicted to be bad, and is.

Policies (`--part policies --policy NAME=DIR`, seeds 500 on, registered before its first run). The tiny policy as it is
built (`untrained`) and after one `make train` (`trained`), in this process (players.py). Arms: each proposes at w = 0,
and at w = 0.5 and 1 with the ridge or with its own Q; random edits with its Q at w = 0.5 and 1. Endpoints (a) and (b),
paired to `stock` and to w = 0 with the same proposer. 60 seeds are too dear where others use the machine: as many as
fit into the time, in order, at least 12. One training run, so it says nothing of other runs. Its prompts have the
experience of this search, and none of earlier ones. Seeds 500 to 559 have run.

Further trainings (the same part, registered after the first 13 seeds of one training, where its own Q at w = 1 gained
+0.147±0.095 over w = 0, and before their first run). The policies of two more `make train` runs, `second` and `third`,
seeds 500 to 523. Question: does the own Q of a trained policy that proposes gain at w = 1 over w = 0 in each? Yes,
where each difference excludes 0 at (a). No, where one of the two includes it. All have run.
"""
