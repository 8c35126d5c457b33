"""`unmask list`."""

import json

import pytest

from unmask.samplers import SAMPLERS, sampler_options
from unmask.tasks import TASKS


@pytest.mark.parametrize("kind", ["samplers", "tasks", "denoisers", "presets"])
def test_json_is_one_object_of_names_and_descriptions(run, kind: str) -> None:
    code, out, err = run("list", kind, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found
    assert all(about for about in found.values())


def test_every_sampler_and_task_is_listed(run) -> None:
    assert {name.partition(":")[0] for name in json.loads(run("list", "samplers", "--json").out)} == set(SAMPLERS)
    assert set(json.loads(run("list", "tasks", "--json").out)) == set(TASKS)
    plain = run("list", "samplers").out
    assert all(any(line.startswith(name) for line in plain.splitlines()) for name in SAMPLERS)


def test_every_option_is_listed_with_its_range(run) -> None:
    listed = json.loads(run("list", "samplers", "--json").out)
    assert "(level: a number from 0 to 1)" in listed["threshold:level=0.9"]
    for line, about in listed.items():
        for option in sampler_options(line.partition(":")[0]):
            assert f"{option}: " in about, line
