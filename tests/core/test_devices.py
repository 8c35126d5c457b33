"""A device without float64, as Apple's mps is, is refused in a sentence before anything is computed on it."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

import unmask
from unmask.core.devices import check_device, check_float64
from unmask.core.errors import UserError


class WithoutFloat64(TorchFunctionMode):
    """The device `meta` answers as mps does to whoever makes a float64 there."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        where = kwargs.get("device")
        if kwargs.get("dtype") == torch.float64 and where is not None and torch.device(where).type == "meta":
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return function(*args, **kwargs)


def test_a_device_without_float64_is_refused_and_another_is_not() -> None:
    check_device("cpu")
    with pytest.raises(UserError, match="device `meta` holds shapes and computes nothing; use cpu"):
        check_device("meta")
    with WithoutFloat64():
        for check in (check_device, check_float64):
            with pytest.raises(UserError, match=r"device `meta` computes no float64, .*use cpu"):
                check("meta")
            check("cpu")


def test_decode_and_loading_refuse_it_before_anything_is_computed() -> None:
    class Denoiser:
        device = torch.device("meta")

        def __call__(self, canvas):
            raise AssertionError("nothing is to be computed")

    canvas = unmask.Canvas.make(torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool), budget=2)
    with WithoutFloat64():
        for refused in (
            lambda: unmask.decode(Denoiser(), canvas),
            lambda: unmask.load_denoiser("wordprob", "meta"),
            lambda: unmask.load_order("no-order", "meta"),
        ):
            with pytest.raises(UserError, match="float64"):
                refused()


def test_mps_is_refused_whether_this_machine_has_it_or_not() -> None:
    with pytest.raises(UserError, match="device `mps` computes no float64"):
        check_device("mps")


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UserError, match="no device `mpz` on this machine; found cpu"):
        check_device("mpz")
