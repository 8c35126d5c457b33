"""What is read from the source of the registries is what is in them."""

import sys

import pytest

from unmask.cli import catalogue
from unmask.cli.common import first_line
from unmask.core.errors import UserError
from unmask.denoisers.families import FAMILIES
from unmask.denoisers.hub import BUNDLED
from unmask.exact.suite import FAMILIES as EXACT
from unmask.exact.suite import INSTANCES
from unmask.samplers import COMMON_OPTIONS, SAMPLERS, make_sampler, sampler_options
from unmask.samplers.options import option_ranges
from unmask.tasks import TASKS
from unmask.train.presets import FIT_PRESETS, LEARN_PRESETS


def test_samplers() -> None:
    assert list(catalogue.samplers()) == list(SAMPLERS)
    for name, found in catalogue.samplers().items():
        assert found == (first_line(SAMPLERS[name]), sampler_options(name), option_ranges(SAMPLERS[name]))
    assert catalogue.common_options() == COMMON_OPTIONS


def test_denoisers() -> None:
    assert list(catalogue.denoisers()) == [*BUNDLED, *FAMILIES]
    assert all(catalogue.denoisers()[name] == f"checkpoints of {family.about}" for name, family in FAMILIES.items())


@pytest.mark.parametrize(("verb", "presets"), [("fit", FIT_PRESETS), ("learn", LEARN_PRESETS)])
def test_presets(verb: str, presets: dict) -> None:
    assert catalogue.presets(verb) == {name: first_line(make) for name, make in presets.items()}


def test_tasks_and_families_of_exact() -> None:
    assert catalogue.tasks() == {name: first_line(sys.modules[load.__module__]) for name, load in TASKS.items()}
    assert (catalogue.exact_families(), catalogue.exact_instances()) == (list(EXACT), INSTANCES)


@pytest.mark.parametrize("text", ["margn", "low_confidence", "threshold:levle=1", "margin:level=3", "threshold:tau=1"])
def test_a_wrong_name_is_answered_as_by_the_registry(text: str) -> None:
    with pytest.raises(UserError) as read:
        catalogue.check_sampler(text)
    with pytest.raises(UserError) as made:
        make_sampler(text)
    assert str(read.value) == str(made.value)


@pytest.mark.parametrize("text", [*SAMPLERS, "threshold:level=0.8,eot=defer", "margin:block=16", "klass:kl=0.1"])
def test_a_right_name_passes(text: str) -> None:
    catalogue.check_sampler(text)
    catalogue.check_samplers(text)
