"""The study's way from a file to a folder of results."""

import pytest

from eds_xr.analysis.deep_mantle.reproduce import number_of_steps, reproduce
from eds_xr.schema import EdsError


def test_number_of_steps__fetching_and_converting_are_steps(tmp_path):
    file = tmp_path / "map.hspy"
    file.touch()
    assert number_of_steps("71GPa", None) == number_of_steps("71GPa", file) + 1
    assert number_of_steps("71GPa", file) == number_of_steps("71GPa", tmp_path) + 1
    assert number_of_steps("simulated", None) == number_of_steps("71GPa", file)


def test_reproduce__never_replaces_what_is_not_its_own(tmp_path):
    (tmp_path / "results.json").write_text("mine")
    with pytest.raises(EdsError, match="holds results.json, which no earlier run is known to have"):
        reproduce(tmp_path, sample="simulated")
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_reproduce__a_file_that_is_not_there_leaves_a_folder_that_is_taken_again(tmp_path):
    out, told = tmp_path / "out", []
    for _ in range(2):
        with pytest.raises(EdsError, match="does not exist; give the path of a spectrum image"):
            reproduce(out, file=tmp_path / "nothing.hspy", say=told.append)
    assert told == []
