# SPDX-License-Identifier: Apache-2.0
"""The store: what is told is there again, whoever dies and whoever else writes."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.llm.client import Completion, Message, Request
from aflow_env.search.tree import Tree
from aflow_env.store.database import VERSION, ReadOnlyStore
from aflow_env.store.node_rows import Node, Rejection
from aflow_env.store.store import SessionKey, Store
from tests.search.support import EXECUTOR, node, results
from tests.store.read_only import as_nobody, locked_copy

KEY = SessionKey("problem/1", seed=3, session="0", step=2)
TASK = "arithmetic"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "run.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


def keep(store: Store, key: SessionKey, ended: Node | Rejection, payload: object = None) -> None:
    if isinstance(ended, Node):
        store.put_many(ended.digest, EXECUTOR, ended.evaluation.results)
    store.record(key, ended, payload)


def rejection(round_: int, parent: int, reason: str = "no such operator") -> Rejection:
    return Rejection(round_, parent, f"said {round_}", f"text {round_}", reason)


def test_a_session_opened_again_has_every_round_that_was_told(store: Store, path: Path) -> None:
    assert store.open_session(KEY, TASK).ended == ()
    told = (node(1, None), rejection(2, 1), node(3, 1, correct=9), node(4, 3, correct=0))
    for each in told:
        keep(store, KEY, each, {"round": each.round} if each.round == 3 else None)
    store.set_state(KEY, {"stopped": "rounds"})
    again = Store(path).open_session(KEY, TASK)
    assert again.ended == told
    assert again.payloads == {3: {"round": 3}}
    assert again.state == {"stopped": "rounds"}
    resumed = again.ended[2]
    assert isinstance(resumed, Node)
    assert list(resumed.evaluation.results) == [each._replace(cached=True) for each in results(9)]
    tree = Tree()
    for each in again.ended:
        tree.record(each)
    assert tree.best().round == 3
    assert store.sessions() == {KEY: TASK}


def test_telling_again_changes_nothing_and_telling_otherwise_is_an_error(store: Store) -> None:
    store.open_session(KEY, TASK)
    keep(store, KEY, node(1, None))
    keep(store, KEY, rejection(2, 1))
    digest = store.digest()
    keep(store, KEY, node(1, None))
    keep(store, KEY, rejection(2, 1))
    for other in (node(1, None, correct=6), rejection(2, 1, "else"), node(2, 1)):
        with pytest.raises(ValueError, match="otherwise"):
            store.record(KEY, other)
    assert store.digest() == digest


def test_a_round_without_its_session_or_parent_is_an_error_and_leaves_no_trace(store: Store) -> None:
    with pytest.raises(ValueError, match="open the session first"):
        store.record(KEY, node(1, None))
    store.open_session(KEY, TASK)
    with pytest.raises(ValueError, match="parents before children"):
        store.record(KEY, node(2, 1))
    keep(store, KEY, node(1, None))
    keep(store, KEY, rejection(2, 1))
    with pytest.raises(ValueError, match="parents before children"):
        store.record(KEY, node(3, 2))
    assert [each.round for each in store.session(KEY).ended] == [1, 2]


@pytest.mark.parametrize("other", [replace(KEY, problem="problem"), replace(KEY, session="0/0"), replace(KEY, seed=-3)])
def test_sessions_do_not_mix(store: Store, other: SessionKey) -> None:
    store.open_session(KEY, TASK)
    keep(store, KEY, node(1, None))
    assert store.open_session(other, TASK).ended == ()
    assert set(store.sessions()) == {KEY, other}
    assert SessionKey("a", 1, "2/3/4").id != SessionKey("a/1/2", 3, "4").id


def test_results_that_do_not_count_are_events_and_never_evaluations(store: Store) -> None:
    lost = ProblemResult("p7", 0, Outcome.LLM_ERROR, error="timeout: no reply", problem_digest="d7")
    broke = ProblemResult("p8", 0, Outcome.BUDGET, error="budget.usd", problem_digest="d8")
    all_results = (*results(3, 5), lost, broke)
    store.put_many("w", EXECUTOR, all_results)
    found = store.get_many("w", EXECUTOR, [(each.problem_digest, 0) for each in all_results])
    assert set(found) == {(f"d{i}", 0) for i in range(5)}
    assert all(each.cached for each in found.values())
    assert {kind for (kind,) in store.read("SELECT kind FROM events")} == {"llm_error", "budget"}
    store.open_session(KEY, TASK)
    told = Node(1, None, node(1, None).workflow, summarise("w", EXECUTOR, all_results))
    store.record(KEY, told)
    [again] = store.session(KEY).ended
    assert isinstance(again, Node)
    assert [each._replace(cached=False) for each in again.evaluation.results] == list(all_results)
    assert again.evaluation.n < len(all_results)


def test_results_are_found_by_workflow_executor_problem_and_repeat_only(store: Store) -> None:
    [one] = results(1, 1)
    store.put_many("w", "e", [one])
    assert store.get_many("w", "e", [("d0", 0)]) == {("d0", 0): one._replace(cached=True)}
    for digest, executor, key in (("v", "e", ("d0", 0)), ("w", "f", ("d0", 0)), ("w", "e", ("d0", 1))):
        assert store.get_many(digest, executor, [key]) == {}


def test_the_first_writer_wins(store: Store, path: Path) -> None:
    [first] = results(1, 1)
    store.put_many("w", "e", [first])
    Store(path).put_many("w", "e", [first._replace(outcome=Outcome.WRONG, score=0.0)])
    assert store.get_many("w", "e", [("d0", 0)])["d0", 0].outcome == Outcome.CORRECT
    assert store.set_meta("config", "a") == "a"
    assert Store(path).set_meta("config", "b") == "a"
    assert store.meta("config") == "a"
    assert store.meta("other") is None


def test_a_stored_evaluation_that_lost_its_results_says_so(store: Store) -> None:
    store.open_session(KEY, TASK)
    store.record(KEY, node(1, None))
    with pytest.raises(InfrastructureError, match="p0 is missing"):
        store.session(KEY)


def test_completions_are_kept_word_for_word(store: Store, path: Path) -> None:
    request = Request(messages=(Message(role="user", content="2 + 2 = ?\x00 \N{SNOWMAN}"),), model="m", sample=3)
    completion = Completion(text="4\n\x00", model="m", input_tokens=9, output_tokens=1, cost_usd=1e-7, seconds=0.5)
    assert store.get(request.key) is None
    store.put(request.key, request, completion)
    assert Store(path).get(request.key) == completion
    [(kept,)] = store.read("SELECT request FROM completions")
    assert Request.model_validate_json(str(kept)) == request


def test_text_that_no_database_keeps_becomes_a_question_mark(store: Store) -> None:
    store.open_session(KEY, TASK)
    keep(store, KEY, node(1, None))
    store.record(KEY, Rejection(2, 1, "\ud800", "\ud800", "\ud800"))
    assert store.session(KEY).ended[1] == Rejection(2, 1, "?", "?", "?")


# -- experience --------------------------------------------------------------------------------------------------------


def play(store: Store, key: SessionKey, *told: Node | Rejection) -> None:
    store.open_session(key, TASK)
    for each in told:
        keep(store, key, each)


def modifications(store: Store, key: SessionKey, digest: str = "digest1", limit: int = 9) -> set[str]:
    return {entry.modification for entry in store.experience(TASK, digest, key, limit)}


def test_experience_of_a_workflow_is_shared_by_whoever_expands_it_later(store: Store) -> None:
    play(store, SessionKey("a", step=1), node(1, None), node(2, 1, 9), rejection(3, 1), node(4, 2, 1))
    play(store, SessionKey("b", step=2), node(1, None), replace(node(2, 1, 2), modification="worse"))
    assert modifications(store, SessionKey("c", step=2)) == {"change 2", "said 3"}
    assert modifications(store, SessionKey("c", step=3)) == {"change 2", "said 3", "worse"}
    assert modifications(store, SessionKey("c", step=3), digest="digest2") == {"change 4"}
    assert store.experience("math", "digest1", SessionKey("c", step=3), 9) == []
    gain, *others = store.experience(TASK, "digest1", SessionKey("c", step=3), 9)
    assert (gain.modification, gain.before, gain.after) == ("change 2", 0.5, 0.9)
    assert [(other.after is None, other.reason) for other in others] == [
        (False, ""),
        (True, "no such operator"),
    ]


def test_what_a_validation_tried_teaches_no_training_and_no_other_validation(store: Store) -> None:
    """It is there to measure: prompts of training do not depend on how often that is done, nor answers leak."""
    validation = SessionKey("validate/a", step=1)
    play(store, validation, node(1, None), replace(node(2, 1, 9), modification="in validation"))
    play(store, SessionKey("train/a", step=1), node(1, None), node(2, 1))
    for later in (SessionKey("train/b", step=2), SessionKey("validate/a", step=2)):
        assert modifications(store, later) == {"change 2"}
    assert modifications(store, validation) == {"in validation"}, "its own rounds it sees"


def test_a_session_sees_its_own_rounds_and_not_those_of_sessions_beside_it(store: Store) -> None:
    play(store, SessionKey("a", session="0", step=4), node(1, None), node(2, 1))
    play(store, SessionKey("a", session="1", step=4), node(1, None), rejection(2, 1))
    assert modifications(store, SessionKey("a", session="0", step=4)) == {"change 2"}
    assert modifications(store, SessionKey("a", session="1", step=4)) == {"said 2"}
    assert modifications(store, SessionKey("a", session="2", step=4)) == set()


def test_a_run_that_goes_on_from_a_checkpoint_knows_what_the_uninterrupted_run_knew(store: Store) -> None:
    """Steps that are played again see the steps up to the checkpoint and what they play themselves, nothing else."""
    play(store, SessionKey("a", step=1), node(1, None), replace(node(2, 1), modification="kept"))
    play(store, SessionKey("b", step=2), node(1, None), replace(node(2, 1, 9), modification="by weights that are gone"))
    for step in (1, 2):
        store.event("predictions", {"step": step})
    told = store.session(SessionKey("b", step=2))
    store.take_back(1)
    store.take_back(1)
    play(store, SessionKey("c", step=2), node(1, None), replace(node(2, 1), modification="played again"))
    store.event("predictions", {"step": 2})
    assert modifications(store, SessionKey("d", step=3)) == {"kept", "played again"}
    assert store.read("SELECT modification FROM experience ORDER BY step") == [("kept",), ("played again",)]
    assert store.session(SessionKey("b", step=2)) == told, "what was evaluated is not lost"
    steps = "SELECT json_extract(data, '$.step') FROM events WHERE kind = 'predictions' ORDER BY id"
    assert store.read(steps) == [(1,), (2,)]
    assert store.read("SELECT count(*) FROM events WHERE kind = 'resumed'") == [(1,)]


def test_experience_is_bounded_and_keeps_the_largest_gains(store: Store) -> None:
    told = [node(1, None, 1), *(replace(node(i, 1, i % 10), modification=str(i)) for i in range(2, 60))]
    play(store, SessionKey("a", step=0), *told)
    chosen = store.experience(TASK, "digest1", SessionKey("b", step=1), 4)
    assert len(chosen) == 4
    assert [entry.after for entry in chosen if entry.succeeded] == [0.9, 0.9]


# -- what is reproducible ----------------------------------------------------------------------------------------------


def test_the_digest_covers_what_must_be_reproducible_and_nothing_else(tmp_path: Path) -> None:
    def run(name: str, correct: int = 5, seconds: float = 1.0, spent: float = 1.0, payload: object = None) -> str:
        store = Store(tmp_path / name)
        store.open_session(KEY, TASK)
        evaluation = replace(node(1, None, correct).evaluation, spent_usd=spent, cache_hits=int(spent))
        store.put_many("digest1", EXECUTOR, [each._replace(seconds=seconds) for each in evaluation.results])
        store.record(KEY, replace(node(1, None), evaluation=evaluation), payload)
        store.event("note", {"at": name})
        return store.digest()

    assert run("a") == run("b", seconds=9.0, spent=0.0, payload=[1])
    assert run("a") != run("c", correct=6)


# -- files that cannot be opened ---------------------------------------------------------------------------------------


def test_an_older_schema_is_refused_and_left_alone(path: Path) -> None:
    """Its tables lack columns: no value is made up for them."""
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION - 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=rf"schema {VERSION - 1}.*writes {VERSION}: name another run_dir"):
        Store(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(ConfigError, match=rf"schema {VERSION + 1}.*upgrade"):
        Store(path)


@pytest.mark.parametrize(
    "content", [b"not a database, but a text of some length\n" * 40, b"SQLite format 3\0" + b"\7" * 9000]
)
def test_a_file_that_is_not_sqlite_is_a_clear_error(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="damaged or is not a SQLite file"):
        Store(path)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ConfigError, match="not of aflow_env"):
        Store(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="run_dir="):
        Store(tmp_path / "file" / "run.sqlite")


def test_a_store_that_is_damaged_while_open_fails_as_the_worlds_fault(store: Store, path: Path) -> None:
    store.open_session(KEY, TASK)
    for round_ in range(1, 30):
        keep(store, KEY, node(round_, 1 if round_ > 1 else None))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises((ConfigError, InfrastructureError), match=r"run\.sqlite"):
        Store(path).open_session(KEY, TASK)


# -- other processes ---------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from aflow_env.store.store import SessionKey, Store
from tests.search.support import EXECUTOR, node
path, session, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = Store(path)
key = SessionKey("shared", session=session)
for each in store.open_session(key, "arithmetic").ended:
    pass
for round_ in range(1, rounds + 1):
    told = node(round_, 1 if round_ > 1 else None, correct=round_ % 11, digest=f"{session}-{round_}")
    store.put_many(told.digest, EXECUTOR, told.evaluation.results)
    store.record(key, told)
    print(round_, flush=True)
"""


def writer(path: Path, session: str, rounds: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", WRITER, str(path), session, str(rounds)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    """They also open the new file at once, so making it is part of the race."""
    writers = [writer(path, session, 60) for session in ("a", "b", "c")]
    for each in writers:
        assert each.wait(timeout=60) == 0
        assert each.stdout is not None
        each.stdout.close()
    store = Store(path)
    assert {key.session: len(store.session(key).ended) for key in store.sessions()} == {"a": 60, "b": 60, "c": 60}
    assert store.read("SELECT count(*) FROM evaluations") == [(1800,)]
    assert store.read("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("after", [1, 7, 23])
def test_kill_9_loses_nothing_that_was_told_and_the_rest_can_go_on(path: Path, after: int) -> None:
    victim = writer(path, "a", 100_000)
    assert victim.stdout is not None
    acknowledged = 0
    for line in victim.stdout:
        acknowledged = int(line)
        if acknowledged >= after:
            os.kill(victim.pid, signal.SIGKILL)
            break
    acknowledged = max([acknowledged, *map(int, victim.stdout.read().split())])
    assert victim.wait(timeout=60) == -signal.SIGKILL
    victim.stdout.close()
    store = Store(path)
    told = store.session(SessionKey("shared", session="a")).ended
    assert len(told) in (acknowledged, acknowledged + 1)
    for each in told:
        assert isinstance(each, Node)
        assert len(list(each.evaluation.results)) == 10
    assert store.read("PRAGMA integrity_check") == [("ok",)]
    with writer(path, "a", len(told) + 5) as second:
        assert second.wait(timeout=60) == 0
    assert len(store.session(SessionKey("shared", session="a")).ended) == len(told) + 5
    clean = Store(path.with_name("clean.sqlite"))
    clean.open_session(SessionKey("shared", session="a"), "arithmetic")
    for round_ in range(1, len(told) + 6):
        again = node(round_, 1 if round_ > 1 else None, correct=round_ % 11, digest=f"a-{round_}")
        keep(clean, SessionKey("shared", session="a"), again)
    assert clean.digest() == store.digest()


def test_the_tables_can_be_read_with_plain_sql(store: Store, path: Path) -> None:
    play(store, KEY, node(1, None), node(2, 1, 9), rejection(3, 1))
    store.event("stop", {"why": "rounds"}, KEY)
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT round, before, after, succeeded, outcome, reason FROM experience ORDER BY 1")
        assert rows.fetchall() == [
            (2, 0.5, 0.9, 1, "evaluated", ""),
            (3, 0.5, None, None, "rejected", "no such operator"),
        ]
        [(outcomes,)] = connection.execute("SELECT outcomes FROM nodes WHERE round = 2").fetchall()
        assert json.loads(outcomes) == {"correct": 9, "wrong": 1}
        assert connection.execute("SELECT session, kind FROM events").fetchall() == [(KEY.id, "stop")]


def test_commits_that_a_copy_cannot_show_are_not_passed_over(store: Store, path: Path) -> None:
    """A folder that cannot be written has no shared memory, without which SQLite reads no journal."""
    store.open_session(KEY, TASK)
    with locked_copy(path, "run.sqlite", "run.sqlite-wal") as copy:
        said = as_nobody(lambda: ReadOnlyStore(copy))
        assert "ConfigError" in said
        assert "has commits in run.sqlite-wal: copy both to a folder to write in" in said
    store.close()
    with locked_copy(path, "run.sqlite") as copy:
        assert as_nobody(lambda: ReadOnlyStore(copy).read("SELECT id FROM sessions")) == repr([(KEY.id,)])
