"""Every pointer from a published name leads to something that is there."""

import re

import pytest

from unmask.core.errors import UserError
from unmask.core.published import OPTIONS, SAMPLERS, option_pointer, sampler_pointer
from unmask.samplers import COMMON_OPTIONS, make_sampler, sampler_options
from unmask.samplers import SAMPLERS as OURS


def named(pointer: str) -> list[str]:
    """What stands between backticks and is a sampler, not a flag."""
    return [spec for spec in re.findall(r"`([^`]*)`", pointer) if not spec.startswith("--") and " " not in spec]


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_a_sampler_is_here_can_be_made(name: str) -> None:
    assert name not in OURS
    specs = named(SAMPLERS[name])
    assert specs
    for spec in specs:
        make_sampler(spec, end_token=0)


@pytest.mark.parametrize("option", OPTIONS)
def test_what_an_option_is_here_can_be_made(option: str) -> None:
    for name in ("margin", "threshold", "entropy-bounded"):
        pointer = option_pointer(name, option, sampler_options(name)) or ""
        for spec in named(pointer):
            if spec.partition(":")[0] in OURS:
                make_sampler(spec, end_token=0)
        assert option not in {*sampler_options(name), *COMMON_OPTIONS}


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("low-confidence", "`top-prob`"),
        ("low_confidence", "`top-prob`"),
        ("Low_Confidence", "`top-prob`"),
        ("maskgit_plus", "`top-prob`"),
        ("maskgit", "`top-prob`"),
        ("origin", "`iid`"),
        ("topk_margin", "`margin`"),
        ("confidence", "`top-prob`"),
        ("confidence_threshold", "`threshold:level=0.9`"),
        ("confidence_threshold:threshold=0.7", "`threshold:level=0.9`"),
        ("threshold:threshold=0.9", "`threshold:level=0.9`"),
        ("top-prob:block_length=32", "`top-prob:block=32`"),
        ("top-prob:block-size=32", "`top-prob:block=32`"),
        ("entropy-bounded:gamma=0.1", "`entropy-bounded:bound=0.1`"),
        ("top-prob:alg_temp=0.1", "`entropy:alg_temp=0.1`"),
        ("margin:steps=8", "`--budget 8`"),
    ],
)
def test_a_published_name_is_pointed_to_ours_and_is_no_second_name(text: str, here: str) -> None:
    with pytest.raises(UserError, match=re.escape(here)) as raised:
        make_sampler(text)
    assert "Did you mean" not in str(raised.value)


def test_names_that_nobody_uses_have_no_pointer() -> None:
    assert sampler_pointer("banana") is None
    assert option_pointer("margin", "banana", {}) is None
    assert option_pointer("margin", "tau", {}) is None, "margin has no level"
