"""What `auto` comes to."""

import pytest
import torch

from unmask.core.errors import UserError
from unmask.train import precision
from unmask.train.precision import multiplies_bfloat16, resolve_precision
from unmask.train.presets import fit_preset, learn_preset


@pytest.mark.parametrize(("hardware", "found"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bfloat16_only_where_the_hardware_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, hardware: bool, found: str
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: hardware)
    assert resolve_precision("auto", "cpu") == found
    assert [resolve_precision(asked, "cpu") for asked in ("bf16", "fp32")] == ["bf16", "fp32"]


def test_a_cpu_without_the_instructions_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for first, second in ((False, False), (True, False), (False, True)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda value=first: value)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda value=second: value)
        assert multiplies_bfloat16(torch.device("cpu")) == (first or second)
    assert not multiplies_bfloat16(torch.device("meta"))


def test_presets_whose_figures_are_quoted_have_the_precision_they_were_measured_in() -> None:
    """With bfloat16 the demo's order takes 5.86 steps of at most 8, in float32 the 4.71 of docs/results.md."""
    assert [learn_preset(name).precision for name in ("demo", "wordprob")] == ["fp32", "fp32"]
    assert [fit_preset("shallow").precision, learn_preset("shallow").precision] == ["bf16", "bf16"]
    for name in ("demo", "wordprob"):
        assert resolve_precision(learn_preset(name).precision, "cuda") == "fp32"


def test_other_presets_leave_the_precision_to_the_machine_and_a_wrong_one_is_named() -> None:
    assert {fit_preset("wordprob").precision, learn_preset("base").precision} == {"auto"}
    with pytest.raises(UserError, match=r"unknown precision `bf61`. Did you mean `bf16`"):
        resolve_precision("bf61", "cpu")
