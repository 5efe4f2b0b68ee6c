# SPDX-License-Identifier: Apache-2.0
"""SIMULATED executor: no language model. It solves generated arithmetic problems as well as its prompt deserves.

It reads the prompt and nothing else (simulated_reading.py): the problem, the instruction's cues, an earlier answer and
whether that is right, an analysis, a review, candidates to vote on. From these and the problem's difficulty a landscape
of numbers (conf/aflow/landscape.yaml) gives the probability of a right reply; seeded luck (simulated_luck.py) decides;
the reply is written in words or in Python that really runs (simulated_writing.py). Every completion names `simulated`
as its model.

What a search finds here is what the landscape's author put there. It shows that searching and learning work, and says
nothing about language models. Prompts without an arithmetic story get a fixed reply that says so.
"""

import math
from collections import Counter
from dataclasses import dataclass

from aflow_env.llm.client import Completion, Request
from aflow_env.llm.simulated import writing as write
from aflow_env.llm.simulated.landscape import Ability, Landscape, TextEffects
from aflow_env.llm.simulated.luck import Luck
from aflow_env.llm.simulated.reading import Reading, Text, look_at, read_prompt
from aflow_env.tasks.benchmarks.arithmetic import Story
from aflow_env.tasks.scorers import last_number

MODEL = "simulated"
NOTHING_TO_SOLVE = (
    "SIMULATED: this executor only knows the generated arithmetic problems, and there is none in the prompt."
)


class SimulatedClient:
    """An LLMClient that computes its replies from the prompt by a landscape and a seed."""

    def __init__(self, landscape: Landscape, seed: int = 0) -> None:
        self.landscape = landscape
        self.seed = seed

    async def complete(self, request: Request) -> Completion:
        """The reply to `request`, always the same; cut at `max_tokens` words. Never raises."""
        prompt = "\n".join(message.content for message in request.messages)
        text, stop_reason = _cut(self.reply(prompt, request), request.max_tokens)
        words_in, words_out = len(prompt.split()), len(text.split())
        scape = self.landscape
        cost = words_in * scape.usd_per_million_input + words_out * scape.usd_per_million_output
        return Completion(
            text=text,
            model=MODEL,
            input_tokens=words_in,
            output_tokens=words_out,
            cost_usd=cost / 1e6,
            stop_reason=stop_reason,
        )

    async def aclose(self) -> None:
        """Nothing to release."""

    def reply(self, prompt: str, request: Request) -> str:
        """The text of the reply."""
        reading = read_prompt(prompt, self.landscape.cues)
        if reading is None:
            return NOTHING_TO_SOLVE
        story = prompt[reading.story.begins : reading.story.ends]
        greedy = self.landscape.greedy_repeats and request.temperature == 0
        key = request.model_copy(update={"sample": 0}).key if greedy else request.key
        return Answer(self.landscape, Luck(f"{self.seed}/{story}", f"{self.seed}/{key}"), reading).write()


@dataclass(frozen=True)
class Answer:
    """One reply in the making."""

    landscape: Landscape
    luck: Luck
    reading: Reading

    def write(self) -> str:
        """The reply in the form that the prompt asks for."""
        match self.reading.role:
            case "text":
                return self._text()
            case "think":
                return write.write_thought(self._understood(self._text_logit(), "text"))
            case "code":
                return self._code()
            case "vote":
                return self._vote()
            case "review":
                return write.write_review(not self._rejects())
            case "revise":
                return self._revise()
            case "format":
                return f"<answer>{_shown(self._number(self.reading.earlier))}</answer>"

    def _text(self) -> str:
        return write.write_text(self._understood(self._text_logit(), "text"), self._quantities(), self.reading.cues)

    def _quantities(self) -> str:
        """The list of quantities, when it is asked for or stands in the earlier answer already."""
        earlier = self._earlier().plan
        if "quantities" not in self.reading.cues and earlier == "none":
            return ""
        plan = self.landscape.plan
        logit = self._logit(plan) + {"none": 0.0, "right": plan.carried, "wrong": -plan.carried}[earlier]
        logit += plan.checked if earlier != "none" and "check" in self.reading.cues else 0.0
        return write.write_quantities(self._understood(logit, "plan"))

    def _code(self) -> str:
        scape = self.landscape
        logit = self._logit(scape.code) + _effect(scape.analysis, self._earlier())
        logit += scape.retry if self.reading.failed_before else 0.0
        crashes = self.luck.happens("crash", scape.code.crash, 0.0)
        return write.write_code(self._understood(logit, "code"), crashes)

    def _vote(self) -> str:
        numbers = [last_number(candidate) for candidate in self.reading.candidates]
        if not numbers:
            return "<solution_letter>A</solution_letter>"
        most_frequent = numbers.index(Counter(numbers).most_common(1)[0][0])
        counted = self.luck.happens("vote", self.landscape.vote.reliability, 0.0)
        chosen = most_frequent if counted else self.luck.pick("letter", len(numbers))
        return f"<solution_letter>{chr(ord('A') + chosen)}</solution_letter>"

    def _rejects(self) -> bool:
        odds, seen = self.landscape.review, self._earlier()
        if seen.result == "right":
            probability = odds.alarm_with_work if seen.shows_work else odds.alarm_bare
        else:
            probability = odds.catch_with_work if seen.shows_work else odds.catch_bare
        return self.luck.happens("review", probability, 0.0)

    def _revise(self) -> str:
        seen, effects = self._earlier(), self.landscape.revise
        verdict = _verdict(self.reading.feedback)
        if verdict == "accepted":
            return f"<solution>\n{self.reading.earlier}\n</solution>"
        logit = self._text_logit()
        if verdict == "rejected":
            caught = effects.caught_with_work if seen.shows_work else effects.caught_bare
            logit += effects.false_alarm if seen.result == "right" else caught
        else:
            logit += effects.unreviewed
        text = write.write_text(
            self._understood(logit, "text"), self._quantities(), {"step"} if seen.shows_work else ()
        )
        return f"<solution>\n{text}\n</solution>"

    def _text_logit(self) -> float:
        scape, seen, cues = self.landscape, self._earlier(), self.reading.cues
        effects = [scape.cues[name].effect for name in cues]
        helped = min(scape.cue_ceiling, sum(effect for effect in effects if effect > 0))
        hurt = sum(effect for effect in effects if effect < 0)
        checked = 0.0
        if "check" in cues and seen.shows_work:
            checked = scape.earlier.checked_right if seen.result == "right" else scape.earlier.checked_wrong
        return self._logit(scape.text) + helped + hurt + checked + _effect(scape.earlier, seen)

    def _logit(self, ability: Ability) -> float:
        return ability.skill - ability.slope * (self.reading.story.difficulty - 1)

    def _earlier(self) -> Text:
        return look_at(self.reading.earlier, self.reading.story)

    def _understood(self, logit: float, name: str) -> Story:
        """The story itself when luck and `logit` say so, else a slip of it."""
        story = self.reading.story
        if self.luck.happens(name, 1 / (1 + math.exp(-logit)), self.landscape.shared_noise):
            return story
        wrong = write.slips(story)
        common = self.luck.happens(f"{name}/common", self.landscape.common_slip, 0.0)
        return wrong[self.luck.pick(f"{name}/slip", len(wrong), of_problem=common)]

    def _number(self, text: str) -> float:
        number = last_number(text)
        return float(self.luck.pick("guess", 100)) if number is None else number


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


def _cut(text: str, words: int) -> tuple[str, str]:
    """The text within its word limit, and why it ends."""
    if len(text.split()) <= words:
        return text, "stop"
    return " ".join(text.split()[:words]), "length"


def _shown(number: float) -> str:
    return f"{number:.15g}"
