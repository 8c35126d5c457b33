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


def test_presets_leave_the_precision_to_the_machine_and_a_wrong_one_is_named() -> None:
    assert {fit_preset("wordprob").precision, learn_preset("demo").precision} == {"auto"}
    with pytest.raises(UserError, match=r"unknown precision `bf61`. Did you mean `bf16`"):
        resolve_precision("bf61", "cpu")
