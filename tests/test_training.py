# SPDX-License-Identifier: Apache-2.0
"""The main job, for real and small: verl trains the tiny policy inside searches, is killed, and goes on.

Real verl, FSDP2, vLLM, sandbox and store; only the executor is simulated. One run, one SIGKILL, one resumed run.
"""

import signal
import sqlite3
import time
from pathlib import Path

import pytest

from aflow_env.report.wandb_runs import read_offline_run
from aflow_env.training.verl_patches.janitor import alive, descendants
from tests.main_job import Run, metrics
from tests.training.named import never_logged

pytest.importorskip("verl", reason="needs verl: make setup")
pytest.importorskip("vllm", reason="needs vllm: make setup")
pytestmark = pytest.mark.real

SAVED, STEPS = 1, 3
"""The step whose checkpoint the resumed run goes on from, and the last step."""
OVERRIDES = (
    *(f"trainer.total_training_steps={STEPS}", f"trainer.test_freq={STEPS}", f"trainer.save_freq={SAVED}"),
    "aflow.q.replay=2",
)


def wasted_calls(run: Path) -> int:
    """LLM calls that were answered and whose answer was not kept: with executor.mode=record, all paid for are kept."""
    made = sqlite3.connect(run / "ledger.sqlite").execute("SELECT calls FROM spent WHERE certain").fetchone()[0]
    kept = sqlite3.connect(run / "run.sqlite").execute("SELECT count(*) FROM completions").fetchone()[0]
    assert kept > 0
    return int(made - kept)


def rounds_of(run: Path, step: int) -> list[tuple[str, int, str | None]]:
    """(session, seed of its search problem, where its experience is found) for each round of a training step."""
    sql = (
        "SELECT nodes.session, seed, parent_digest FROM nodes JOIN sessions ON sessions.id = nodes.session "
        "WHERE sessions.step = ? AND problem LIKE 'train/%' AND parent IS NOT NULL"
    )
    return list(sqlite3.connect(run / "run.sqlite").execute(sql, (step,)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | int]:
    """A run with verl's own screen that is killed in its second step, and the same command again with ours."""
    folder = tmp_path_factory.mktemp("training")
    search = folder / "runs" / "test" / "search"
    first = Run(folder, *OVERRIDES, screen="first.log", AFLOW_SCREEN="verl")
    first.wait_for(f"step:{SAVED} - ")
    deadline = time.monotonic() + 60
    while not rounds_of(search, step=SAVED + 1) and first.driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    left = descendants(first.driver.pid)
    first.driver.send_signal(signal.SIGKILL)
    first.driver.wait()
    while any(map(alive, left)) and time.monotonic() < deadline:
        time.sleep(0.1)  # the janitor of the killed run ends what it left
    wasted = wasted_calls(search)
    second = Run(folder, *OVERRIDES)
    second.wait_for("best, test")
    assert second.driver.wait(timeout=120) == 0
    return {
        "folder": folder,
        "search": search,
        "wasted": wasted,
        "first": first.screen,
        "second": second.log,
        "screen": second.screen,
    }


def test_rollout_and_training_agree_on_every_step(runs: dict[str, Path]) -> None:
    steps = metrics(runs["first"]) | metrics(runs["second"])
    assert set(range(1, STEPS + 1)) <= set(steps)
    correlations = [steps[step]["training/rollout_actor_probs_pearson_corr"] for step in range(1, STEPS + 1)]
    assert min(correlations) > 0.99, correlations


def test_gigpo_really_runs(runs: dict[str, Path]) -> None:
    """Anchors are shared, advantages are not all zero, and the actor's weights move."""
    steps = metrics(runs["second"])
    for step in range(SAVED + 1, STEPS + 1):
        assert steps[step]["aflow/anchor_group_size/max"] >= 4, "all sessions of a uid start at one workflow"
        assert 0 <= steps[step]["aflow/singleton_anchor_fraction"] <= 1
        assert steps[step]["actor/grad_norm"] > 0
    assert max(steps[step]["aflow/advantage/abs_mean"] for step in range(SAVED + 1, STEPS + 1)) > 0


def test_value_rows_of_earlier_steps_are_trained_again(runs: dict[str, Path]) -> None:
    """The resumed run starts with none and has enough for a mini-batch by its second step; weights move by them."""
    last = metrics(runs["second"])[STEPS]
    assert last["aflow/replay_updates"] >= 1
    assert last["aflow/replay_rows_held"] > metrics(runs["first"])[1]["aflow/replay_rows_held"] > 0
    assert last["aflow/replay_grad_norm"] > 0


def test_the_policy_is_really_there(runs: dict[str, Path]) -> None:
    """Q is asked for and differs from 0; most edits are well-formed, as the warm start promises."""
    steps = metrics(runs["second"])
    valid = [steps[step]["aflow/valid_rate"] for step in range(SAVED + 1, STEPS + 1)]
    assert sum(valid) / len(valid) >= 0.75, valid
    for step in range(SAVED + 1, STEPS + 1):
        assert steps[step]["aflow/rl_weight"] == 0.5
        assert 0.05 < steps[step]["aflow/q_mean"] < 0.95
        assert steps[step]["aflow/q_mass"] > 0.9


def test_a_killed_run_resumes_and_pays_nothing_twice(runs: dict[str, Path]) -> None:
    assert f"global_step_{SAVED}" in runs["second"].read_text(errors="replace")
    assert min(metrics(runs["second"])) == SAVED + 1, "training goes on after the checkpoint"
    assert wasted_calls(runs["search"]) == runs["wasted"], "an answer that was kept is not asked for again"


def test_what_was_played_after_the_checkpoint_is_played_again_and_teaches_nobody(runs: dict[str, Path]) -> None:
    """The sampler goes on with the same search problems; rounds of the weights that are gone are no experience."""
    played = rounds_of(runs["search"], step=SAVED + 1)
    assert len({seed for _, seed, _ in played}) == 2, "data.train_batch_size problems, though two starts played them"
    gone = {session for session, _, experience in played if experience is None}
    assert gone, "the killed run was in its second step"
    assert not gone & {session for session, _, experience in played if experience is not None}
    assert len({session for session, _, _ in played} - gone) == 8, "the sessions of the resumed run"


def test_the_end_says_what_was_gained(runs: dict[str, Path]) -> None:
    text = runs["screen"].read_text(errors="replace")
    assert "SIMULATED executor" in text
    assert "start, validate" in text
    assert (runs["search"] / "best" / "graph.py").is_file()


def test_the_screen_has_a_line_a_step_and_the_log_has_the_rest(runs: dict[str, Path]) -> None:
    """Of a real run on a pipe: no line of a library, all within 80 columns, the log named first and last."""
    lines = runs["screen"].read_text().splitlines()
    assert len(lines) < 60
    assert [line for line in lines if len(line) > 80 and " " in line] == [], "a path alone may be longer"
    named = [number for number, line in enumerate(lines) if "runs/test/train.log" in line]
    assert len(named) == 2
    assert named[0] <= 2
    assert lines[named[1]] == lines[-1]
    steps = [line.split() for line in lines if line.startswith(("2/3 ", "3/3 "))]
    assert [step[0] for step in steps] == ["2/3", "3/3"]
    assert all("-" not in step for step in steps), "every figure is known"
    text = runs["second"].read_text(errors="replace")
    assert "target_num_threads" in text
    assert "'actor_rollout_ref'" in text
    assert "\x1b[36m" not in text


def test_wandb_has_one_run_offline_with_its_search(runs: dict[str, Path]) -> None:
    """The resumed run goes on under the id of the killed one, and ends with the tree and the leading workflows."""
    files = sorted(runs["folder"].glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1, "run-ID.wandb"
    ended = read_offline_run(files[1])
    for name in ("aflow/run/best_score", "aflow/best_by/cost", "aflow/top_workflows/_type", "aflow/tree/_type"):
        assert ended.column(name), name
    assert never_logged(ended) == [], "every figure that docs/training.md names"
    assert ended.config["versions"]["verl"] == "0.9.1"
    assert "wandb sync" in runs["screen"].read_text(errors="replace")
