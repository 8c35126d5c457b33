"""A tiny checkpoint of each family, written once, and copies of it to spoil."""

import shutil

import pytest

from .entries import TINY


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """`checkpoints("llada")`: the path of the family's tiny checkpoint; not to be changed."""
    made = {}

    def find(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("families") / name
            folder.mkdir()
            made[name] = TINY[name].write(folder)
        return made[name]

    return find


@pytest.fixture
def spoilable(checkpoints, tmp_path):
    """The same as a copy that may be changed."""

    def copy(name):
        path = checkpoints(name)
        folder = path if path.is_dir() else path.parent
        shutil.copytree(folder, tmp_path / name)
        return tmp_path / name if path.is_dir() else tmp_path / name / path.name

    return copy
