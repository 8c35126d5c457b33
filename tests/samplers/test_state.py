from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.samplers.state import take_rows, where_rows


class Pair(NamedTuple):
    left: Tensor
    right: object


@dataclass(frozen=True)
class Box:
    inside: object


STATE = Pair(torch.tensor([1, 2, 3]), Box([{"deep": torch.tensor([[1], [2], [3]])}, None, "word"]))
OTHER = Pair(torch.tensor([4, 5, 6]), Box([{"deep": torch.tensor([[4], [5], [6]])}, None, "word"]))


def test_rows_are_taken_wherever_the_tensors_are():
    taken = take_rows(STATE, torch.tensor([2, 0]))
    assert isinstance(taken, Pair)
    assert isinstance(taken.right, Box)
    assert taken.left.tolist() == [3, 1]
    assert taken.right.inside[0]["deep"].tolist() == [[3], [1]]
    assert taken.right.inside[1:] == [None, "word"]


def test_rows_of_two_states_are_mixed():
    mixed = where_rows(torch.tensor([True, False, True]), STATE, OTHER)
    assert mixed.left.tolist() == [1, 5, 3]
    assert mixed.right.inside[0]["deep"].tolist() == [[1], [5], [3]]


def test_no_state_stays_none():
    assert take_rows(None, torch.tensor([0])) is None
