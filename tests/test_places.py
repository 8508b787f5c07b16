"""What may be replaced: stores, and nothing else."""

import os
from pathlib import Path

import pytest

from eds_xr import places, store
from eds_xr.schema import EdsError

STORE = [
    "zarr.json",
    "counts/zarr.json",
    "counts/c/0/0/0",
    "counts/c/1.0.0",
    "y/zarr.json",
    "y/c/0",
]


def test_foreign_keys__none_in_stores_of_both_formats():
    assert places.foreign_keys(STORE) == []
    assert places.foreign_keys([".zgroup", ".zmetadata", "counts/.zarray", "counts/0.1.2"]) == []
    pyramid = ["pyramid/zarr.json", "pyramid/2/zarr.json", "pyramid/2/counts/zarr.json"]
    assert places.foreign_keys([*STORE, *pyramid, "pyramid/2/counts/c/0/0"]) == []


def test_foreign_keys__litter_of_systems_and_killed_runs_is_none():
    litter = [".DS_Store", "counts/c/0/0/0." + 32 * "a" + ".partial"]
    assert places.foreign_keys([*STORE, *litter]) == []


@pytest.mark.parametrize(
    "key",
    ["notes.txt", "counts/notes.txt", "counts/c/notes", "thesis/zarr.json", "other/0.0", "c/0/0"],
)
def test_foreign_keys__what_is_not_the_store_s(key):
    found = places.foreign_keys([*STORE, key])
    assert found == ([] if key == "thesis/zarr.json" else [key])  # an array of one's own is one


def test_keys_of__files_and_links_to_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    assert sorted(places.keys_of(tmp_path)) == ["a/b/file", "link"]


def test_local_or_url__paths_urls_and_file_urls(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.local_or_url("a.zarr") == tmp_path.resolve() / "a.zarr"
    assert places.local_or_url(f"file://{tmp_path}/a.zarr") == tmp_path / "a.zarr"
    assert places.local_or_url("s3://bucket/a.zarr/") == "s3://bucket/a.zarr"


def test_check_store__replaces_stores_alone(eager_image, tmp_path: Path) -> None:
    target = store.save(eager_image, tmp_path / "a.zarr")
    places.check_store(target, overwrite=True, holds="counts")
    places.check_store(tmp_path / "free.zarr", overwrite=False, holds="counts")
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        places.check_store(target, overwrite=False, holds="counts")
    with pytest.raises(EdsError, match="is not a label image store"):
        places.check_store(target, overwrite=True, holds="label")
    (target / "notes.txt").touch()
    with pytest.raises(EdsError, match=r"holds more than the store: notes\.txt, which would be"):
        places.check_store(target, overwrite=True, holds="counts")


def test_inside__refuses_links_that_lead_out_and_what_is_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    (folder / "in").touch()
    assert places.inside(folder, "in") == folder.resolve() / "in"
    assert places.inside(folder, "missing") == folder.resolve() / "missing"
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(EdsError, match="is a link to .*, outside of the store"):
        places.inside(folder, "out")
    with pytest.raises(EdsError, match="outside of the store"):
        places.inside(folder, "../b")
    os.mkfifo(folder / "pipe")
    with pytest.raises(EdsError, match="is no plain file"):
        places.inside(folder, "pipe")
