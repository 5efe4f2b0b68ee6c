# SPDX-License-Identifier: Apache-2.0
"""A sweep's jobs: one failure stops no other, what is done is skipped, what is cut off runs again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aflow_env.sweep.jobs import EndedJob, Job, SweepError, run

SCRIPT = """
import os, sys, time
from pathlib import Path
folder, what = Path(sys.argv[1]), sys.argv[2]
with (folder / "ran").open("a") as file:
    file.write("x")
print("said", os.environ.get("MARK", ""), flush=True)
if what == "slow" and not (folder / "again").exists():
    (folder / "again").touch()
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)
sys.exit(3 if what == "fails" else 0)
"""


def job(tmp_path: Path, name: str, what: str = "works", **identity: str) -> Job:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    command = (sys.executable, "-c", SCRIPT, str(folder), what)
    return Job(name, folder, folder, command, identity or {"name": name}, environment={"MARK": name})


def times(each: Job) -> int:
    return len((each.folder / "ran").read_text())


def test_a_failed_job_stops_no_other_and_only_it_runs_again(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a"), job(tmp_path, "b", "fails"), job(tmp_path, "c")]
    said: list[str] = []
    first = run(jobs, 1, said.append)
    assert [each.status for each in first] == ["done", "failed", "done"]
    assert "exit status 3" in first[1].reason
    assert "said b" in first[1].reason, "the end of its log"
    assert any(line.startswith("[2/3] b: failed") for line in said)
    second = run(jobs, 2, said.append)
    assert [each.status for each in second] == ["skipped", "failed", "skipped"]
    assert [times(each) for each in jobs] == [1, 2, 1]


def test_jobs_run_at_once_up_to_the_limit(tmp_path: Path) -> None:
    """Each of four jobs ends only once it has seen the three others begin."""
    meet = (
        "import pathlib, sys, time; here = pathlib.Path(sys.argv[1]); (here / f'{sys.argv[2]}.here').touch()\n"
        "while len(list(here.glob('*.here'))) < 4: time.sleep(0.01)"
    )
    jobs = [
        Job(str(i), tmp_path / str(i), tmp_path / str(i), (sys.executable, "-c", meet, str(tmp_path), str(i)), {})
        for i in range(4)
    ]
    assert {each.status for each in run(jobs, 4, lambda _: None)} == {"done"}


def test_another_job_in_the_folder_is_refused_and_a_longer_one_goes_on(tmp_path: Path) -> None:
    before = job(tmp_path, "a", w="0", steps="5")
    assert run([before], 1, lambda _: None)[0].status == "done"
    other = job(tmp_path, "a", w="1", steps="5")
    (refused,) = run([other], 1, lambda _: None)
    assert refused.status == "failed"
    assert "w=0 there, 1 here" in refused.reason
    longer = Job(
        "a", before.folder, before.folder, before.command, {"w": "0", "steps": "9"}, lambda key: key == "steps"
    )
    assert run([longer], 1, lambda _: None)[0].status == "done"
    assert times(before) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_sweep_ends_its_jobs_and_repeated_runs_only_what_is_missing(tmp_path: Path, number: int) -> None:
    jobs = [job(tmp_path, "a"), job(tmp_path, "b", "slow"), job(tmp_path, "c")]
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.sweep.test_jobs import job, run\n"
        f"p = Path({str(tmp_path)!r})\n"
        "say = lambda text: print(text, flush=True)\n"
        "run([job(p, 'a'), job(p, 'b', 'slow'), job(p, 'c')], 1, say)\n"
    )
    pid = jobs[1].folder / "pid"
    deadline = time.monotonic() + 120
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as sweep:
        assert sweep.stdout is not None
        assert any(line.startswith("b: started") for line in sweep.stdout)
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        running = int(pid.read_text())
        assert json.loads((jobs[1].folder / "job.json").read_text())["status"] == "running"
        sweep.send_signal(number)
        sweep.wait(timeout=60)
    while _alive(running) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(running), "the running job was told to end"
    ended: list[EndedJob] = run(jobs, 1, lambda _: None)
    assert [each.status for each in ended] == ["skipped", "done", "done"]
    assert [times(each) for each in jobs] == [1, 2, 1]


def test_a_job_is_never_run_by_two_sweeps_at_once(tmp_path: Path) -> None:
    import fcntl

    one = job(tmp_path, "a")
    with (one.folder / "job.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (ended,) = run([one], 1, lambda _: None)
    assert ended.status == "failed"
    assert "another sweep" in ended.reason


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_record_that_is_no_jobs_fails_that_job_alone(tmp_path: Path) -> None:
    """The reason names the file; the other jobs run."""
    jobs = [job(tmp_path, name) for name in "abc"]
    (jobs[0].folder / "job.json").write_text("{")
    (jobs[1].folder / "job.json").write_text('{"identity": [1]}')
    ended = run(jobs, 1, lambda _: None)
    assert [each.status for each in ended] == ["failed", "failed", "done"]
    assert all(f"{each.job.folder / 'job.json'} is no record" in each.reason for each in ended[:2])


def test_two_jobs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="called a: sweep each value once"):
        run([job(tmp_path, "a"), job(tmp_path, "a")], 1, lambda _: None)
    assert not (tmp_path / "a" / "ran").exists()
