"""A sound dataset for the doctor, and a copy to plant faults in."""

import shutil
from pathlib import Path

import pytest
from planted_faults import SIZE, SOUND


@pytest.fixture(scope="session")
def folder_of_sound(tmp_path_factory):
    return tmp_path_factory.mktemp("doctor") / "sound"


@pytest.fixture
def sound(folder_of_sound, write_vspw):
    """A sound dataset; not to be changed."""
    return write_vspw(folder_of_sound, SOUND, SIZE)  # leaves what is there already


@pytest.fixture
def root(sound, tmp_path):
    """A copy of it, to plant faults in."""
    return Path(shutil.copytree(sound, tmp_path / "VSPW"))
