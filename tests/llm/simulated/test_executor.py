# SPDX-License-Identifier: Apache-2.0
"""The simulated executor reads its prompt alone, is repeatable, says what it is, and has the shape it promises."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.llm.client import Completion, Message, Request
from aflow_env.llm.simulated.executor import NOTHING_TO_SOLVE, Luck, SimulatedClient
from aflow_env.llm.simulated.landscape import Landscape, load_landscape
from aflow_env.llm.simulated.wording import look_at, read_prompt, slips, write_quantities, write_text, write_work
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.tasks.benchmarks.arithmetic import generate, read
from aflow_env.tasks.scorers import last_number
from aflow_env.workflow.operators import CodeResult, OperatorContext, call_operator
from aflow_env.workflow.steps import Step
from recipe.bench.landscape import BARE, CHECK, LIST, STEP, measure

SCAPE = load_landscape()
STORY, ANSWER = generate("a story", 3)
SPEC = load_task(TaskConfig(name="arithmetic")).spec


def request(prompt: str, sample: int = 0, temperature: float = 0.7, max_tokens: int = 1024) -> Request:
    return Request(
        messages=(Message(role="user", content=prompt),), sample=sample, temperature=temperature, max_tokens=max_tokens
    )


async def ask(prompt: str, seed: int = 0, **rest: object) -> Completion:
    return await SimulatedClient(SCAPE, seed).complete(request(prompt, **rest))


def certain(**changes: object) -> Landscape:
    """The landscape with extreme abilities, so that what is tested does not hang on luck."""
    return SCAPE.model_copy(
        update={name: getattr(SCAPE, name).model_copy(update=value) for name, value in changes.items()}
    )


ALWAYS = {"skill": 50.0, "slope": 0.0}
NEVER = {"skill": -50.0, "slope": 0.0}


@given(prompt=st.text(), sample=st.integers(0, 5), seed=st.integers(0, 3))
async def test_any_prompt_has_one_answer(prompt: str, sample: int, seed: int) -> None:
    for text in (prompt, f"{prompt}\n{STORY}"):
        first = await ask(text, seed, sample=sample)
        assert first == await ask(text, seed, sample=sample)
        assert first.model == "simulated"


async def test_without_a_story_it_says_that_it_is_simulated() -> None:
    assert (await ask("Write a poem.")).text == NOTHING_TO_SOLVE
    assert "SIMULATED" in NOTHING_TO_SOLVE


async def test_samples_and_seeds_differ_and_temperature_zero_repeats() -> None:
    stories = [generate(n, 3)[0] for n in range(40)]

    async def replies(seed: int = 0, **rest: object) -> list[str]:
        return [(await ask(f"Think step by step.\n{story}", seed, **rest)).text for story in stories]

    assert await replies(sample=0) != await replies(sample=1)
    assert await replies(seed=0) != await replies(seed=1)
    assert await replies(sample=0, temperature=0.0) == await replies(sample=1, temperature=0.0)


async def test_tokens_are_words_and_cost_follows_them() -> None:
    done = await ask(f"Reply as a friendly teacher.\n{STORY}")
    assert done.input_tokens == len(f"Reply as a friendly teacher.\n{STORY}".split())
    assert done.output_tokens == len(done.text.split()) > 40
    nominal = done.input_tokens * SCAPE.usd_per_million_input + done.output_tokens * SCAPE.usd_per_million_output
    assert done.cost_usd == pytest.approx(nominal / 1e6)
    cut = await ask(f"Reply as a friendly teacher.\n{STORY}", max_tokens=5)
    assert (cut.output_tokens, cut.stop_reason) == (5, "length")


@given(p=st.floats(0.05, 0.95), shared=st.floats(0, 1))
@settings(max_examples=10)
def test_luck_keeps_its_probability_however_it_is_shared(p: float, shared: float) -> None:
    draws = [Luck(f"problem {n}", f"request {n}").happens("x", p, shared) for n in range(3000)]
    assert sum(draws) / len(draws) == pytest.approx(p, abs=0.045)


def test_shared_luck_ties_the_prompts_of_a_problem_together() -> None:
    def agreement(shared: float) -> float:
        pairs = ((Luck(f"{n}", f"a{n}"), Luck(f"{n}", f"b{n}")) for n in range(1000))
        return sum(a.happens("x", 0.5, shared) == b.happens("x", 0.5, shared) for a, b in pairs) / 1000

    assert agreement(0.0) == pytest.approx(0.5, abs=0.06)
    assert agreement(0.8) > 0.7
    assert agreement(1.0) == 1.0


@pytest.mark.parametrize(
    ("instruction", "cues"),
    [
        ("Think step by step, then give the final number.", {"step"}),
        ("Reason slowly and show all of your work!", {"step"}),
        ("write down each QUANTITY and its unit before you calculate", {"quantities"}),
        ("List the known values first.", {"quantities"}),
        ("Check your result by working backwards.", {"check"}),
        ("Verify it.", {"check"}),
        ("Answer with the number only.", {"bare"}),
        ("Reply with just a number, no explanation", {"bare"}),
        ("Be brief and confident.", {"brief"}),
        ("Reply as a friendly teacher.", {"teacher"}),
        ("Solve the problem.", set()),
        ("", set()),
    ],
)
def test_cues_are_found_in_any_wording(instruction: str, cues: set[str]) -> None:
    reading = read_prompt(f"{instruction}\n{STORY}", SCAPE.cues)
    assert reading is not None
    assert (reading.role, reading.cues) == ("text", cues)


def test_words_of_the_story_and_of_earlier_answers_are_no_cues() -> None:
    reading = read_prompt(f"Solve it.\n{STORY}\n\nEarlier answer:\nThink step by step: check it, {ANSWER}", SCAPE.cues)
    assert reading is not None
    assert reading.cues == frozenset()
    assert last_number(reading.earlier) == ANSWER


@given(seed=st.integers(0, 300), difficulty=st.integers(1, 8))
def test_what_it_writes_can_be_read_and_slips_are_wrong(seed: int, difficulty: int) -> None:
    story = read(generate(seed, difficulty)[0])
    assert story is not None
    text = f"{write_quantities(story)}\n{write_work(story)}\nThe answer is {story.answer}."
    seen = look_at(text, story)
    assert (seen.result, seen.shows_work, seen.plan) == ("right", True, "right")
    for slip in slips(story):
        assert slip.answer != story.answer
        assert look_at(write_text(slip, write_quantities(slip), {"step"}), story).result == "wrong"
        assert look_at(write_quantities(slip), story).plan == "wrong"


@pytest.mark.parametrize("cues", [set(), {"bare"}, {"step"}, {"teacher"}, {"check", "teacher"}, {"brief"}])
def test_the_last_number_of_every_reply_is_its_result(cues: set[str]) -> None:
    story = read(STORY)
    assert story is not None
    assert last_number(write_text(story, write_quantities(story) if "bare" not in cues else "", cues)) == ANSWER


def context(scape: Landscape) -> OperatorContext:
    client = SimulatedClient(scape)

    async def complete(prompt: str, fields: tuple[str, ...]) -> str:
        return (await client.complete(request(prompt))).text

    async def run_code(code: str, name: str, arguments: list[object], seconds: float) -> CodeResult:
        scope: dict[str, object] = {}
        try:
            exec(code, scope)
            return CodeResult("ok", str(scope[name]()))
        except NameError as error:
            return CodeResult("crash", None, str(error))

    return OperatorContext(complete, run_code)


SOLVERS: list[tuple[str, dict[str, object], str]] = [
    ("Custom", {"input": STORY, "instruction": STEP}, "response"),
    ("Custom", {"input": STORY, "instruction": BARE}, "response"),
    ("Custom", {"input": f"{STORY}\n\nEarlier answer:\n12", "instruction": CHECK}, "response"),
    ("AnswerGenerate", {"input": STORY}, "answer"),
    ("Programmer", {"problem": STORY, "analysis": "None"}, "output"),
    ("Revise", {"problem": STORY, "solution": "12", "feedback": "It is wrong."}, "solution"),
]


@pytest.mark.parametrize(("name", "arguments", "key"), SOLVERS)
async def test_every_operator_gets_the_form_it_asks_for(name: str, arguments: dict[str, object], key: str) -> None:
    able = certain(text=ALWAYS, code={**ALWAYS, "crash": 0.0})
    unable = certain(text=NEVER, code={**NEVER, "crash": 0.0})
    assert last_number(str((await call_operator(name, arguments, context(able)))[key])) == ANSWER
    assert last_number(str((await call_operator(name, arguments, context(unable)))[key])) not in (ANSWER, None)


async def test_programmer_is_asked_again_after_a_crash_and_gives_up_in_the_end() -> None:
    crashing = await call_operator("Programmer", {"problem": STORY}, context(certain(code={**ALWAYS, "crash": 1.0})))
    assert str(crashing["output"]).startswith("Error")
    mended = certain(code={**ALWAYS, "crash": 0.5})
    outputs = [
        (await call_operator("Programmer", {"problem": generate(n, 2)[0]}, context(mended)))["output"]
        for n in range(20)
    ]
    assert sum(not str(output).startswith("Error") for output in outputs) > 12


async def test_ensemble_chooses_the_most_frequent_result() -> None:
    counting = certain(vote={"reliability": 1.0})
    chosen = await call_operator(
        "ScEnsemble",
        {"problem": STORY, "solutions": ["It is 7.", "Step 1: 2 + 3 = 5.\nThe answer is 5.", "5", "7 and so 9"]},
        context(counting),
    )
    assert last_number(str(chosen["response"])) == 5


async def test_review_sees_whether_the_solution_is_right_and_format_keeps_its_number() -> None:
    sharp = certain(review={"catch_bare": 1.0, "alarm_bare": 0.0})
    right = await call_operator("Review", {"problem": STORY, "solution": f"{ANSWER}"}, context(sharp))
    wrong = await call_operator("Review", {"problem": STORY, "solution": f"{ANSWER + 1}"}, context(sharp))
    assert (right["review_result"], wrong["review_result"]) == (True, False)
    kept = await call_operator(
        "Revise", {"problem": STORY, "solution": "41", "feedback": right["feedback"]}, context(SCAPE)
    )
    assert kept["solution"] == "41"
    neat = await call_operator("Format", {"problem": STORY, "solution": "I think it is 41."}, context(SCAPE))
    assert neat["solution"] == "41"


async def test_landscape_has_its_promised_shape() -> None:
    """Start, one good edit, a plan for the program, votes on it; and the traps. Bounds are wide for 120 problems."""
    problems = load_task(TaskConfig(name="arithmetic", test_size=120)).load("test")
    custom = [Step("Custom", text) for text in (LIST, STEP, CHECK)]
    program, vote = Step("Programmer"), Step("ScEnsemble", samples=5)

    async def score(*steps: Step) -> float:
        return (await measure(steps, problems, seed=0, temperature=0.7))[0]

    start = await score(*start_steps(SPEC))
    listing = await score(custom[0])
    planned = await score(custom[0], program)
    best = await score(custom[0], custom[2], program, vote)
    assert 0.18 < start < 0.32
    assert 0.38 < listing < 0.55
    assert await score(program) < 0.42, "a program without a plan helps little"
    assert planned > 0.65
    assert best > 0.88
    assert await score(*start_steps(SPEC), vote) < start + 0.05, "votes on bad answers are no better"
    assert await score(*start_steps(SPEC), Step("Review"), Step("Revise")) < start + 0.03
    assert await score(*start_steps(SPEC), Step("Format")) == start
    assert await score(custom[0], Step("Custom", BARE), program, vote) < best - 0.3, "a bare answer buries the plan"


async def test_in_the_landscape_with_traps_edits_look_useless_until_a_second_one_follows() -> None:
    """A list and a program each make the start worse; the program from a list is far above any other two edits."""
    problems = load_task(TaskConfig(name="arithmetic", test_size=120)).load("test")
    traps = str(Path(__file__).parents[3] / "conf" / "aflow" / "landscape_traps.yaml")

    async def score(*steps: Step) -> float:
        return (await measure(steps, problems, 0, 0.7, traps))[0]

    bare, listing, step, check = (Step("Custom", text) for text in (BARE, LIST, STEP, CHECK))
    start, program = await score(bare), Step("Programmer")
    for trap in ((listing,), (listing, bare), (program,), (bare, program)):
        assert await score(*trap) < start, trap
    assert await score(listing, program) > start + 0.3
    assert await score(listing, program) > await score(step, check) + 0.25


def test_bad_landscapes_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read"):
        load_landscape(str(tmp_path / "none.yaml"))
    text = (Path(__file__).parents[3] / "conf" / "aflow" / "landscape.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text.replace("crash: 0.06", "crash: 6"))
    with pytest.raises(ConfigError, match=r"code\.crash=6"):
        load_landscape(str(tmp_path / "a.yaml"))
    (tmp_path / "b.yaml").write_text(text + "\nluck: 1\n")
    with pytest.raises(ConfigError, match="luck"):
        load_landscape(str(tmp_path / "b.yaml"))
