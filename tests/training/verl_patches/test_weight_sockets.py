# SPDX-License-Identifier: Apache-2.0
"""Two runs on one machine hand over their weights through two sockets, and both ends of a run agree on the name."""

from types import SimpleNamespace

import pytest

pytest.importorskip("verl", reason="needs verl")
pytest.importorskip("vllm", reason="needs vLLM")
from verl.workers.rollout.vllm_rollout import vllm_async_server, vllm_rollout
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from aflow_env.training.verl_patches import weight_sockets as handover


def both_ends(monkeypatch: pytest.MonkeyPatch, address: str, job: str = "01000000") -> tuple[str, str]:
    """What the trainer's end and the engine's end of a run on the cluster at `address` call the socket."""
    context = SimpleNamespace(get_job_id=lambda: job, gcs_address=address)
    monkeypatch.setattr(handover.ray, "get_runtime_context", lambda: context)
    monkeypatch.setenv("VERL_RAY_JOB_ID", job)
    monkeypatch.setenv("VERL_REPLICA_RANK", "0")
    adapter = SimpleNamespace(zmq_handle=f"ipc:///tmp/rl-colocate-zmq-{job}-replica-0-rank-0.sock")
    handover.rename(adapter)
    handover.announce(None)
    worker = SimpleNamespace(local_rank=0, model_runner=SimpleNamespace())
    return adapter.zmq_handle, vLLMColocateWorkerExtension._get_zmq_handle(worker)


def test_both_ends_agree_and_clusters_of_one_machine_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for address in ("192.0.2.2:51001", "192.0.2.2:51002"):
        sender, receiver = both_ends(monkeypatch, address)
        assert sender == receiver
        assert len(sender.removeprefix("ipc://")) < 100, "a socket's path has 107 bytes at most"
        names.append(sender)
    assert names[0] != names[1]


def test_the_plugin_has_put_it_into_verl() -> None:
    for kind in (vllm_rollout.ServerAdapter, vllm_async_server.vLLMHttpServer):
        assert kind.__init__.__code__.co_filename == handover.__file__


def test_another_verl_whose_socket_is_named_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(get_job_id=lambda: "02000000", gcs_address="192.0.2.2:51001")
    monkeypatch.setattr(handover.ray, "get_runtime_context", lambda: context)
    with pytest.raises(RuntimeError, match="not named after the Ray job"):
        handover.rename(SimpleNamespace(zmq_handle="ipc:///tmp/other.sock"))
