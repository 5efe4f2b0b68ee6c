# SPDX-License-Identifier: Apache-2.0
"""The dtype follows from the processor's flags, for trainer, reference and rollout alike, in the CPU configs alone."""

from pathlib import Path

import pytest

from aflow_env.training.hardware.processor import dtype, flags, reason

CPUINFO = "processor\t: 0\nmodel name\t: some\nflags\t\t: fpu avx2 {}\nbugs\t\t:\n\nprocessor\t: 1\nflags\t\t: other\n"


@pytest.mark.parametrize(
    ("more", "wanted"),
    [("", "float32"), ("avx512f bf16", "float32"), ("avx512_bf16", "bfloat16"), ("amx_bf16 amx_tile", "bfloat16")],
)
def test_bfloat16_needs_instructions_for_it(more: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(more))
    found = flags(tmp_path / "cpuinfo")
    assert {"fpu", "avx2"} <= found
    assert dtype(found) == wanted
    assert reason(found).startswith(wanted)
    assert ("neither" in reason(found)) == (wanted == "float32")


def test_a_processor_that_is_not_known_computes_in_float32(tmp_path: Path) -> None:
    assert flags(tmp_path / "missing") == frozenset()
    assert dtype(frozenset()) == "float32"


@pytest.mark.parametrize(("found", "wanted"), [(frozenset({"amx_bf16"}), "bfloat16"), (frozenset({"avx2"}), "float32")])
@pytest.mark.parametrize("name", ["aflow_gigpo_cpu", "aflow_gigpo_cpu_real"])
def test_trainer_reference_and_rollout_have_the_same(
    name: str, found: frozenset[str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """verl's own conversion gives both names of a dtype the same meaning."""
    pytest.importorskip("verl", reason="needs verl: make setup")
    import omegaconf
    import torch
    from verl.utils.torch_dtypes import PrecisionType

    from aflow_env.cli.verbs.training import composed
    from aflow_env.training.hardware import processor
    from aflow_env.training.launch.driver import register_resolvers

    register_resolvers(omegaconf)
    monkeypatch.setattr(processor, "flags", lambda: found)
    node = composed(name, ["actor_rollout_ref.model.path=x"]).actor_rollout_ref
    trained, referred = (node[part].fsdp_config.mixed_precision for part in ("actor", "ref"))
    assert trained.param_dtype == referred.param_dtype == node.rollout.dtype == wanted
    assert PrecisionType.to_dtype(trained.param_dtype) == getattr(torch, wanted)
    assert PrecisionType.to_dtype(trained.reduce_dtype) == torch.float32


def test_a_gpu_keeps_verls_own_dtype() -> None:
    pytest.importorskip("verl", reason="needs verl: make setup")
    from aflow_env.cli.verbs.training import composed

    node = composed("aflow_gigpo", []).actor_rollout_ref
    assert node.rollout.dtype == "bfloat16"
    assert node.actor.fsdp_config.get("mixed_precision") is None
