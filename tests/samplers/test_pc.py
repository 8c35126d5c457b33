import math

import pytest
import torch

from unmask.core.errors import UserError
from unmask.samplers.frequencies import read_log_frequencies, write_counts
from unmask.samplers.pc import PC


@pytest.fixture
def counted(tmp_path):
    """Token 0 makes up 6 of 8 after smoothing, token 1 two of 8."""
    write_counts(tmp_path / "counts.json", torch.tensor([5, 1]))
    return str(tmp_path / "counts.json")


def test_frequencies_are_smoothed_by_one(counted):
    assert read_log_frequencies(counted).exp().tolist() == pytest.approx([6 / 8, 2 / 8])


def test_the_score_by_hand(fixed, counted):
    """-c log f: .95 * .288 = .273, .60 * 1.386 = .832, .90 * .288 = .259 and .55 * 1.386 = .762; times e^(-i / 4), that
    is 1, .779, .607, .472: scores .273, .648, .157, .360. So 1, 3, 0, 2, where confidence alone says 0, 2, 1, 3."""
    row = [[0.95, 0.05], [0.4, 0.6], [0.9, 0.1], [0.45, 0.55]]
    scores = [0.95 * math.log(8 / 6), 0.6 * math.log(4), 0.9 * math.log(8 / 6), 0.55 * math.log(4)]
    scores = [score * math.exp(-i / 4) for i, score in enumerate(scores)]
    assert scores == pytest.approx([0.273, 0.648, 0.157, 0.360], abs=1e-3)
    assert fixed(row).revealed_at(PC(frequencies=counted), budget=4) == [3, 1, 4, 2]


def test_what_is_rare_counts_no_more_than_the_clip(fixed, counted):
    """Clipped at .2 all scores are .2 e^(-i / 4): from left to right."""
    row = [[0.95, 0.05], [0.4, 0.6], [0.9, 0.1], [0.45, 0.55]]
    assert fixed(row).revealed_at(PC(clip=0.2, frequencies=counted), budget=4) == [1, 2, 3, 4]


def test_without_a_file_position_and_confidence_are_what_counts(confident):
    """c e^(-i / 4): .6, .9 * .779 = .701, .99 * .607 = .601; without decay by confidence alone."""
    assert confident([0.6, 0.9, 0.99]).revealed_at(PC(), budget=3) == [3, 1, 2]
    assert confident([0.6, 0.9, 0.99]).revealed_at(PC(decay=0), budget=3) == [3, 2, 1]


def test_a_long_response_does_not_underflow(confident):
    """e^(-.25 * 3999) is no float64; the last position is still behind the one before it."""
    case = confident([0.9] * 4000, visible=tuple(range(3998)))
    assert case.picks(PC(), budget=2) == [3998]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "has no counts"),
        ('{"counts": [1, -2]}', "the count of token 1 must be a whole number of at least 0, got -2"),
        ('{"counts": [1, 0.5]}', "the count of token 1 must be"),
        ("nothing", "damaged"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(UserError, match=rf"bad.json.*{message}"):
        PC(frequencies=str(tmp_path / "bad.json"))


def test_counts_of_another_vocabulary_are_refused(fixed, counted):
    with pytest.raises(UserError, match="counts 2 tokens but the denoiser's vocabulary has 3"):
        fixed([[0.5, 0.3, 0.2]]).decode(PC(frequencies=counted), 1)


@pytest.mark.parametrize("options", [{"decay": -1}, {"clip": -1}, {"frequencies": 3}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=r"must be (a number of at least 0|the path of a file), got"):
        PC(**options)
