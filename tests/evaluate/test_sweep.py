import pytest

from unmask.core.errors import UserError
from unmask.evaluate.family import family
from unmask.evaluate.sweep import ADAPTIVE_OPTIONS, Swept, parse_sweep


def specs(text, most=48):
    return [str(each) for each in parse_sweep(text).pinned(most)]


def test_a_list_of_levels_is_run_where_only_the_level_decides():
    assert specs("threshold.level=0.5,0.7") == ["threshold:level=0.5@48", "threshold:level=0.7@48"]
    assert specs("threshold.level=0.5,0.7,0.5@8") == ["threshold:level=0.5@8", "threshold:level=0.7@8"]


def test_a_range_holds_its_last_value_and_no_rounding():
    found = parse_sweep("threshold.level=0.5:0.95:0.05").values
    assert found == ("0.50", "0.55", "0.60", "0.65", "0.70", "0.75", "0.80", "0.85", "0.90", "0.95")
    assert parse_sweep("entropy-bounded.bound=3:0.5:-1").values == ("3", "2", "1")
    assert parse_sweep("threshold.level=0.5:0.5:0.1").values == ("0.5",)


def test_other_options_stay_and_any_option_can_be_swept():
    assert specs("threshold:eot=defer.level=0.5,0.9") == [
        "threshold:eot=defer,level=0.5@48",
        "threshold:eot=defer,level=0.9@48",
    ]
    assert specs("margin.block=8:24:8") == ["margin:block=8", "margin:block=16", "margin:block=24"]
    assert specs("margin.eot=free,tail") == ["margin:eot=free", "margin:eot=tail"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threshold", "cannot read the sweep `threshold`"),
        ("threshold:level=0.5", "cannot read the sweep"),
        ("threshold.level=", "cannot read the sweep"),
        ("threshld.level=0.5", "Did you mean `threshold`"),
        ("threshold.levl=0.5", "Did you mean `level`"),
        ("threshold.level=0.5,,0.7", "empty value"),
        ("threshold.level=0.5,7", "level must be a number from 0 to 1, got 7"),
        ("threshold.level=0.5:0.9", "cannot read the range `0.5:0.9`"),
        ("threshold.level=a:b:c", "cannot read the range"),
        ("threshold.level=0:nan:1", "cannot read the range"),
        ("threshold.level=0.5:0.9:0", "never gets from 0.5 to 0.9"),
        ("threshold.level=0.9:0.5:0.1", "never gets from 0.9 to 0.5"),
        ("threshold.level=0:1:0.0001", "10001 values; at most 100"),
        ("threshold:level=0.4.level=0.5", "both sets and sweeps `level`"),
        ("threshold.level=0.5@x", "cannot read the budget"),
    ],
)
def test_a_wrong_sweep_is_answered_in_one_sentence(text, message):
    with pytest.raises(UserError, match=message):
        parse_sweep(text)


def test_a_family_is_a_sampler_without_what_is_swept():
    assert family("threshold:level=0.7,eot=defer") == family("threshold:eot=defer,level=0.9") == "threshold:eot=defer"
    assert family("entropy-bounded:bound=1") == "entropy-bounded"
    assert family("margin:block=8") == "margin:block=8"
    assert family("margin:block=8", swept=ADAPTIVE_OPTIONS | {Swept("margin", "block")}) == "margin"
    assert family("ours:one-per-step", learned=True) == family("ours", learned=True) == "ours"
