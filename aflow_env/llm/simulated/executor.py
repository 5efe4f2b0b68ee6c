# SPDX-License-Identifier: Apache-2.0
"""SIMULATED executor: no language model. It solves generated arithmetic problems, better with a better prompt.

It reads the prompt and nothing else (wording.py). The landscape (conf/aflow/landscape.yaml) gives the probability of a
right reply from the problem's difficulty, the instruction's cues, an earlier answer and a review. Seeded luck decides.
The reply is words, or Python that really runs. Completions name `simulated` as their model.

A search finds here the structure that the landscape's author put there. It shows that searching and learning work, and
nothing about language models. Prompts without an arithmetic story get a fixed reply.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from statistics import NormalDist

from aflow_env.llm.client import Completion, Request
from aflow_env.llm.simulated import wording as write
from aflow_env.llm.simulated.landscape import Ability, Landscape, TextEffects
from aflow_env.llm.simulated.wording import Reading, Text, look_at, read_prompt
from aflow_env.tasks.benchmarks.arithmetic import Story
from aflow_env.tasks.scorers import last_number

NOTHING_TO_SOLVE = (
    "SIMULATED: this executor only knows the generated arithmetic problems, and there is none in the prompt."
)
_NORMAL = NormalDist()


@dataclass(eq=False)
class SimulatedClient:
    """An LLMClient that computes its replies from the prompt by a landscape and a seed."""

    landscape: Landscape
    seed: int = 0

    async def complete(self, request: Request) -> Completion:
        """Return always the same reply to a request, cut at `max_tokens` words. Never raises."""
        prompt = "\n".join(message.content for message in request.messages)
        text = self.reply(prompt, request)
        words, scape = text.split(), self.landscape
        cut = len(words) > request.max_tokens
        words = words[: request.max_tokens]
        words_in = len(prompt.split())
        cost = words_in * scape.usd_per_million_input + len(words) * scape.usd_per_million_output
        return Completion(
            text=" ".join(words) if cut else text,
            model="simulated",
            input_tokens=words_in,
            output_tokens=len(words),
            cost_usd=cost / 1e6,
            stop_reason="length" if cut else "stop",
        )

    async def aclose(self) -> None:
        """Release nothing."""

    def reply(self, prompt: str, request: Request) -> str:
        """Return the text of the reply."""
        reading = read_prompt(prompt, self.landscape.cues)
        if reading is None:
            return NOTHING_TO_SOLVE
        story = prompt[reading.story.begins : reading.story.ends]
        greedy = self.landscape.greedy_repeats and request.temperature == 0
        key = request.model_copy(update={"sample": 0}).key if greedy else request.key
        luck = Luck(f"{self.seed}/{story}", f"{self.seed}/{key}")
        return _Draft(self.landscape, luck, reading, look_at(reading.earlier, reading.story)).write()


@dataclass(frozen=True)
class Luck:
    """Named draws without a generator: hashes of names, the same in every process and order.

    `problem` is the same for every prompt about a problem, `request` for one prompt and sample. Where the problem's
    part is bad, the problem is hard for every prompt. The parts are mixed as normal deviates, so each
    probability is exact.
    """

    problem: str
    request: str

    def happens(self, name: str, probability: float, shared: float = 0.0) -> bool:
        """Return True with exactly `probability`. `shared` is the share of the luck that belongs to the problem."""
        ours = math.sqrt(shared) * _NORMAL.inv_cdf(_uniform(f"{name}/{self.problem}"))
        own = math.sqrt(1 - shared) * _NORMAL.inv_cdf(_uniform(f"{name}/{self.request}"))
        return _NORMAL.cdf(ours + own) < probability

    def pick(self, name: str, count: int, of_problem: bool = False) -> int:
        """Return one of `count`, evenly. With `of_problem` all prompts about the problem get the same."""
        return int(_uniform(f"{name}/{self.problem if of_problem else self.request}") * count)


def _uniform(name: str) -> float:
    """Return a number in (0, 1), a function of the name alone."""
    bits = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 12
    return (bits + 0.5) / 2**52


@dataclass(frozen=True)
class _Draft:
    """One reply in the making. `seen` is the view of the earlier text."""

    landscape: Landscape
    luck: Luck
    reading: Reading
    seen: Text

    def write(self) -> str:
        """Return the reply in the form that the prompt asks for."""
        match self.reading.role:
            case "text":
                return self._text(self._text_logit(), self.reading.cues)
            case "think":
                story = self._understood(self._text_logit(), "text")
                return f"<thought>\n{write.write_work(story)}\n</thought>\n<answer>{story.answer}</answer>"
            case "code":
                return self._code()
            case "vote":
                return self._vote()
            case "review":
                return write.REJECTED if self._rejects() else write.ACCEPTED
            case "revise":
                return f"<solution>\n{self._revised()}\n</solution>"
            case "format":
                number = last_number(self.reading.earlier)
                return f"<answer>{self.luck.pick('guess', 100) if number is None else f'{number:.15g}'}</answer>"

    def _text(self, logit: float, cues: Collection[str]) -> str:
        return write.write_text(self._understood(logit, "text"), self._quantities(), cues)

    def _quantities(self) -> str:
        """Return the list of quantities, when it is asked for or is in the earlier answer already."""
        cues, earlier, plan = self.reading.cues, self.seen.plan, self.landscape.plan
        if "quantities" not in cues and earlier == "none":
            return ""
        logit = self._logit(plan) + {"none": 0.0, "right": plan.carried, "wrong": -plan.carried}[earlier]
        logit += plan.checked if earlier != "none" and "check" in cues else 0.0
        return write.write_quantities(self._understood(logit, "plan"))

    def _code(self) -> str:
        scape = self.landscape
        logit = self._logit(scape.code) + _effect(scape.analysis, self.seen)
        logit += scape.retry if self.reading.failed_before else 0.0
        return write.write_code(self._understood(logit, "code"), self.luck.happens("crash", scape.code.crash))

    def _vote(self) -> str:
        numbers = [last_number(candidate) for candidate in self.reading.candidates]
        chosen = 0
        if numbers and self.luck.happens("vote", self.landscape.vote.reliability):
            chosen = numbers.index(Counter(numbers).most_common(1)[0][0])
        elif numbers:
            chosen = self.luck.pick("letter", len(numbers))
        return f"<solution_letter>{chr(ord('A') + chosen)}</solution_letter>"

    def _rejects(self) -> bool:
        odds, work = self.landscape.review, self.seen.shows_work
        if self.seen.result == "right":
            return self.luck.happens("review", odds.alarm_with_work if work else odds.alarm_bare)
        return self.luck.happens("review", odds.catch_with_work if work else odds.catch_bare)

    def _revised(self) -> str:
        seen, effects = self.seen, self.landscape.revise
        verdict = _verdict(self.reading.feedback)
        if verdict == "accepted":
            return self.reading.earlier
        effect = effects.unreviewed
        if verdict == "rejected":
            caught = effects.caught_with_work if seen.shows_work else effects.caught_bare
            effect = effects.false_alarm if seen.result == "right" else caught
        return self._text(self._text_logit() + effect, {"step"} if seen.shows_work else ())

    def _text_logit(self) -> float:
        scape, seen, cues = self.landscape, self.seen, self.reading.cues
        effects = [scape.cues[name].effect for name in cues]
        helped = min(scape.cue_ceiling, sum(effect for effect in effects if effect > 0))
        hurt = sum(effect for effect in effects if effect < 0)
        checked = 0.0
        if "check" in cues and seen.shows_work:
            checked = scape.earlier.checked_right if seen.result == "right" else scape.earlier.checked_wrong
        return self._logit(scape.text) + helped + hurt + checked + _effect(scape.earlier, seen)

    def _logit(self, ability: Ability) -> float:
        return ability.skill - ability.slope * (self.reading.story.difficulty - 1)

    def _understood(self, logit: float, name: str) -> Story:
        story = self.reading.story
        if self.luck.happens(name, 1 / (1 + math.exp(-logit)), self.landscape.shared_noise):
            return story
        wrong = write.slips(story)
        common = self.luck.happens(f"{name}/common", self.landscape.common_slip)
        return wrong[self.luck.pick(f"{name}/slip", len(wrong), of_problem=common)]


def _effect(effects: TextEffects, seen: Text) -> float:
    total = {"none": 0.0, "right": effects.plan_right, "wrong": effects.plan_wrong}[seen.plan]
    if seen.result == "right":
        total += effects.right_with_work if seen.shows_work else effects.right_bare
    elif seen.result == "wrong":
        total += effects.wrong_with_work if seen.shows_work else effects.wrong_bare
    return total


def _verdict(feedback: str) -> str:
    plain = feedback.lower()
    if any(word in plain for word in ("wrong", "mistake", "error", "incorrect", "not right")):
        return "rejected"
    return "accepted" if any(word in plain for word in ("right", "correct")) else "none"
