# SPDX-License-Identifier: Apache-2.0
"""The digest: the same for the same program, different for another one, defined for any text."""

import ast
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aflow_env.workflow.program import SourceError, TaskSpec, Workflow, parse_source
from aflow_env.workflow.steps import Step, to_workflow
from tests.workflow.examples import CODE, HELPERS, LOOPS, MATH_TASK, REALISTIC, examples


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Several attempts, each with a hint of its own", ""),
        ("Implementation of the workflow", "Other words"),
        ("workspace.MATH.workflows", "workspace.GSM8K.workflows"),
        ("round_7", "round_19"),
        ("from typing import Literal\n", "import re\nimport random as dice\n"),
        ("name: str,", "name,"),
        ("solutions = []\n", "solutions   =   [ ]\n\n\n"),
        ("prompt_custom", "prompts"),
        ("class Workflow:", 'DatasetType = "unused"\n\nclass Workflow:'),
    ],
)
def test_what_does_not_act_does_not_count(old: str, new: str) -> None:
    assert old in LOOPS.graph
    assert Workflow(LOOPS.graph.replace(old, new), LOOPS.prompts).digest == LOOPS.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("range(3)", "range(4)"),
        ("rounds < 2", "rounds <= 2"),
        ("prompt_custom.SOLVE_PROMPT", "prompt_custom.HINT_PROMPT"),
        ('problem + "\\n" + hint', 'hint + "\\n" + problem'),
        ("self.review(", "self.revise("),
        ("            rounds += 1\n", ""),
        ("best['response'], self.llm", "solutions[0], self.llm"),
    ],
)
def test_what_acts_counts(old: str, new: str) -> None:
    assert old in LOOPS.graph
    assert Workflow(LOOPS.graph.replace(old, new), LOOPS.prompts).digest != LOOPS.digest


def test_prompts_count_when_they_are_used() -> None:
    def with_prompts(prompts: str) -> str:
        return Workflow(CODE.graph, prompts).digest

    assert with_prompts(CODE.prompts + 'SPARE = "nothing"\n# words\n') == CODE.digest
    assert with_prompts('FIX_PROMPT = "Mend it.  "\nCODE_PROMPT = "Write " + "clean code."\n') == CODE.digest
    assert with_prompts(CODE.prompts.replace("Mend", "Repair")) != CODE.digest
    renamed = Workflow(CODE.graph.replace("FIX_PROMPT", "NEW"), CODE.prompts.replace("FIX_PROMPT", "NEW"))
    assert renamed.digest == CODE.digest


def test_helpers_count_when_the_class_reaches_them() -> None:
    digest = HELPERS.digest
    assert Workflow(HELPERS.graph.replace("limit=100", "limit=99"), HELPERS.prompts).digest != digest
    assert Workflow(HELPERS.graph.replace("MAX_TRIES = 2", "MAX_TRIES = 3"), HELPERS.prompts).digest != digest
    assert Workflow(HELPERS.graph + "\ndef unused():\n    return 1\n", HELPERS.prompts).digest == digest


def test_the_order_and_the_attributes_of_the_module_count() -> None:
    use = "class Workflow:\n    def f(self):\n        return X\n"
    texts = ["Y = 1\nX = Y\nY = 2\n" + use, "Y = 1\nY = 2\nX = Y\n" + use, use, use + "Workflow.f = 1\n"]
    assert len({Workflow(text, "").digest for text in texts}) == len(texts)


def test_an_imported_name_stands_for_what_it_imports() -> None:
    base = "class Workflow:\n    def f(self, x):\n        return g(x)\n"

    def digest(line: str, body: str = base) -> str:
        return Workflow(f"{line}\n{body}", "").digest

    assert digest("from math import floor as g") != digest("from math import ceil as g")
    assert digest("from math import floor as g") == digest("from math import floor as h", base.replace("g(", "h("))


@examples
@given(st.text(max_size=200), st.text(max_size=50))
def test_any_text_has_a_digest(graph: str, prompts: str) -> None:
    digest = Workflow(graph, prompts).digest
    assert len(digest) == 16
    assert int(digest, 16) >= 0
    assert digest == Workflow(graph, prompts).digest


def test_unreadable_programs_are_told_apart() -> None:
    texts = ["class Workflow(", "class Workflow((", "-" * 9000 + "1", "x" + ".a" * 5000, "(" * 300, "\ud800", "a\0"]
    assert len({Workflow(text, "").digest for text in texts}) == len(texts)
    assert len({digest.digest for digest, _ in REALISTIC.values()}) == len(REALISTIC)


@pytest.mark.parametrize(
    "text", ["(" * 300, "-" * 20_000 + "1", "a" + "+a" * 9_000, "not " * 5_000, "\0", "\ud800", "1" * 9_000, "\\", "'"]
)
def test_hostile_source_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(SourceError):
        parse_source(text)


def test_the_digest_is_stable_across_versions() -> None:
    """Stores keep digests: a change of this value is a new format."""
    workflow = to_workflow((Step("Custom", "Solve it."), Step("ScEnsemble", samples=3)), MATH_TASK)
    assert workflow.digest == "fee81ae6a5232f95"


def test_a_data_set_must_be_an_identifier() -> None:
    with pytest.raises(ValueError, match="identifier"):
        TaskSpec("own", "my-data", ("Custom",))


SOURCES = st.sampled_from(
    (
        *(
            "# -*- coding: utf-7 -*-",
            "#coding=latin-1",
            "# vim: set fileencoding=utf_8 :",
            "#coding:utf-8-sig",
            "#coding=utf8",
        ),
        *(
            "coding=ascii",
            "# é coding:",
            "#coding=x coding=utf-7",
            "+AHM-",
            "'é'",
            "x = 1",
            "é = 'ß'",
            "if x:\n  y = 1\n",
        ),
        *(
            "\ufeff",
            "\f",
            "\r",
            "\n",
            "\r\n",
            "\0",
            "\ud800",
            "\x1a",
            "\v",
            "\x85",
            "\u2028",
            "\\\n",
            "'''",
            " ",
            "\t",
            "#",
        ),
    )
)


@settings(max_examples=2000)
@given(st.lists(SOURCES, max_size=9).map("".join) | st.lists(SOURCES, max_size=9).map("\n".join))
@example("# coding: utf-7\nx = '+AHM-'\n")
@example("\r# coding: utf-7\n+AHM-=1")
def test_python_reads_the_file_as_the_gate_reads_the_text(text: str) -> None:
    """Promise: a source that parses is the same program when Python decodes its bytes by BOM and encoding comment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = parse_source(text)
        except SourceError:
            return
        assert ast.dump(ast.parse(text.encode())) == ast.dump(tree)


@pytest.mark.parametrize("name", ["utf-7", "latin-1", "utf-8-sig", "rot13", "x" * 5000])
def test_another_encoding_is_refused_by_name(name: str) -> None:
    """Promise: an encoding other than UTF-8 is an error of the workflow that names it; UTF-8's own names pass."""
    with pytest.raises(SourceError, match=r"the encoding .* is not allowed"):
        parse_source(f"# coding: {name}\n")
    parse_source("# coding: utf-8\n# -*- coding: UTF_8 -*-\n")
    parse_source("x = 1\n\n# coding: utf-7\n")
