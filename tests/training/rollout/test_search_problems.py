# SPDX-License-Identifier: Apache-2.0
"""Search problems as verl's dataset: rows from the config, rows from a file, and the two kept apart."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from aflow_env.cli.compose import load
from aflow_env.errors import ConfigError
from aflow_env.training.rollout.search_problems import SearchProblems, check_files, read_parquet, rows, write_parquet

CONFIG = load(("problems.train=5", "problems.validate=3"))
DATA = OmegaConf.create({"aflow": CONFIG.model_dump(by_alias=True)})


def test_validation_never_shares_a_seed_with_training() -> None:
    assert not {row.seed for row in rows(CONFIG, "train")} & {row.seed for row in rows(CONFIG, "validate")}


def test_a_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    write_parquet(rows(CONFIG, "train"), tmp_path / "train.parquet")
    from_file = SearchProblems(str(tmp_path / "train.parquet"), None, DATA)
    assert from_file.rows == SearchProblems("train", None, DATA).rows
    assert len(from_file) == 5


def test_a_row_names_our_agent_loop_and_carries_its_search_problem() -> None:
    item = SearchProblems(["validate"], None, DATA)[2]
    assert item["agent_name"] == "aflow_search"
    assert item["extra_info"]["split"] == "validate"
    assert item["data_source"] == "aflow/arithmetic"


def test_a_file_that_is_missing_or_no_parquet_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_parquet(tmp_path / "none.parquet", "arithmetic")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(ConfigError, match="does not hold search problems"):
        read_parquet(tmp_path / "text.parquet", "arithmetic")


def test_a_file_of_another_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write_parquet([replace(row, task="gsm8k") for row in rows(CONFIG, "train")], path)
    with pytest.raises(ConfigError, match=rf"{path} holds search problems of gsm8k, and aflow\.task\.name=arithmetic"):
        SearchProblems(str(path), None, DATA)


@pytest.mark.parametrize("files", ["train", ["train"]])
def test_fewer_training_rows_than_a_step_takes_are_refused(files: Any) -> None:
    """Five of them; validation takes as many as there are."""
    data = OmegaConf.merge(DATA, {"train_files": files, "val_files": "validate", "train_batch_size": 5})
    assert len(SearchProblems(data.train_files, None, data)) == 5
    assert len(SearchProblems(data.val_files, None, data)) == 3
    with pytest.raises(ConfigError, match=r"data\.train_batch_size=5: .* has 4 search problems"):
        SearchProblems(data.train_files, None, data, max_samples=4)
    data.train_batch_size = 6
    with pytest.raises(ConfigError, match=r"data\.train_batch_size=6: .* has 5 .*aflow\.problems\.train=5"):
        SearchProblems(data.train_files, None, data)


def drawn(state: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """verl's dataloader over our rows, and the seeds of its batches for ever, as its trainer draws them."""
    pytest.importorskip("verl", reason="needs verl")
    from torchdata.stateful_dataloader import StatefulDataLoader
    from verl.trainer.ppo.utils import create_rl_sampler
    from verl.utils.dataset.rl_dataset import collate_fn

    data = OmegaConf.merge(DATA, {"shuffle": True, "seed": 1})
    rows_ = SearchProblems("train", None, data)
    loader = StatefulDataLoader(
        rows_, batch_size=2, drop_last=True, collate_fn=collate_fn, sampler=create_rl_sampler(data, rows_)
    )
    if state is not None:
        loader.load_state_dict(state)

    def batches() -> Any:
        while True:
            for batch in loader:
                yield tuple(entry["seed"] for entry in batch["extra_info"])

    return loader, batches()


def test_a_resumed_run_draws_the_search_problems_that_the_uninterrupted_run_draws() -> None:
    """Two batches an epoch, killed after any of them, also between two epochs."""
    whole = list(islice(drawn()[1], 9))
    assert len(set(whole)) > 4, "it shuffles anew each epoch"
    for killed_after in range(1, 6):
        loader, batches = drawn()
        list(islice(batches, killed_after))
        assert list(islice(drawn(loader.state_dict())[1], 9 - killed_after)) == whole[killed_after:]


@pytest.mark.parametrize(
    ("key", "own", "other"), [("train_files", "train", "validate"), ("val_files", "validate", "train")]
)
def test_rows_of_the_other_split_are_refused_by_name_and_by_file(
    tmp_path: Path, key: str, own: Literal["train", "validate"], other: Literal["train", "validate"]
) -> None:
    """Training trains on the split that it is scored on, and validation validates on another."""
    usual = {"train_files": "train", "val_files": "validate", "train_max_samples": -1, "val_max_samples": -1}
    files = {name: str(tmp_path / f"{name}.parquet") for name in (own, other)}
    for name, file in files.items():
        write_parquet(rows(CONFIG, name), Path(file))
    for good in (own, files[own], [own, files[own]]):
        check_files(OmegaConf.merge(DATA, usual, {key: good}))
    for bad in (other, files[other], [own, files[other]]):
        with pytest.raises(ConfigError, match=rf"data.{key}=.* has rows of the split {other}: .*data.{key}={own}"):
            check_files(OmegaConf.merge(DATA, usual, {key: bad}))


@pytest.mark.parametrize("wrong", [{"seed": "abc"}, {"start": None}, {"split": "test"}])
def test_a_row_with_a_wrong_value_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """The agent loop would fail at each of its sessions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"index": 0, "task": "arithmetic", "seed": 1, "start": "default", "split": "train"}
    pq.write_table(pa.Table.from_pylist([row | wrong]), tmp_path / "train.parquet")
    with pytest.raises(ConfigError, match=rf"does not hold search problems \(row\.{next(iter(wrong))}=") as found:
        read_parquet(tmp_path / "train.parquet", "arithmetic")
    assert "\n" not in str(found.value)


def test_a_start_workflow_that_a_file_names_must_be_there(tmp_path: Path) -> None:
    write_parquet([replace(row, start="/nowhere") for row in rows(CONFIG, "train")], tmp_path / "train.parquet")
    most = {"train_max_samples": -1, "val_max_samples": -1, "val_files": "validate"}
    data = OmegaConf.merge(DATA, most, {"train_files": str(tmp_path / "train.parquet")})
    with pytest.raises(ConfigError, match=r"data\.train_files=.*train\.parquet: problems\.start=/nowhere"):
        check_files(data)
