"""Readers of other packages: found by their entry points, told from ours, named when broken."""

import sys
from pathlib import Path

import numpy as np
import pytest
from support.reading import COUNTS

import eds_xr
from eds_xr import readers
from eds_xr.schema import EdsError

READER = '''
"""Files that begin with TOY: counts [y, x, energy] of one byte."""

import numpy as np

from eds_xr.readers import Axis, Recording, row_regions

MAGIC, SHAPE = b"TOY", (7, 5, 32)


def recognises(head):
    return head.startswith(MAGIC)


def read(path):
    counts = np.frombuffer(path.read_bytes()[len(MAGIC):], "u1").reshape(SHAPE)
    steps = {"y": 2.0, "x": 2.0, "energy": 0.01}
    axes = tuple(
        Axis(name, step * np.arange(size), "keV" if name == "energy" else "nm", name)
        for (name, step), size in zip(steps.items(), SHAPE)
    )

    def row_blocks(rows):
        yield from (counts[region] for region in row_regions(SHAPE, rows))

    return [Recording("toy", axes, counts.dtype, row_blocks, {"signal_type": "EDS_TEM"})]


class Other:
    """An object in place of a module."""

    recognises = staticmethod(lambda head: head.startswith(b"OTHER"))

    def read(self, path):
        return read(path)


other = Other()
'''
ENTRIES = """[eds_xr.readers]
.toy .TOY2 = toy_reader
.npy = toy_reader
.other = toy_reader:other
.broken = toy_reader:nothing
.half = toy_reader:np
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a made-up package, and return a folder for its files."""
    site = tmp_path / "site"
    (site / "toy_reader-1.0.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: toy-reader\nVersion: 1.0\n"
    (site / "toy_reader-1.0.dist-info/METADATA").write_text(metadata)
    (site / "toy_reader-1.0.dist-info/entry_points.txt").write_text(ENTRIES)
    (site / "toy_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "toy_reader", raising=False)
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def write(path: Path, magic: bytes = b"TOY") -> Path:
    path.write_bytes(magic + COUNTS.astype("u1").tobytes())
    return path


@pytest.mark.parametrize("name", ["a.toy", "a.toy2", "a.TOY"])
def test_convert__a_format_of_another_package(toy: Path, name: str) -> None:
    image = eds_xr.open(eds_xr.convert(write(toy / name)))
    np.testing.assert_array_equal(image, COUNTS)
    assert image.y.units == "nm"
    assert "toy_reader" in sys.modules


def test_find_reader__does_not_import_the_others(toy: Path) -> None:
    np.save(toy / "a.npy", COUNTS)
    (toy / "a.json").write_text('{"energy_offset_kev": -0.2, "energy_step_kev": 0.01}')
    assert readers.read(toy / "a.npy")[0].name != "toy"
    assert "toy_reader" not in sys.modules


def test_find_reader__by_content_where_ours_does_not_know_it(toy: Path) -> None:
    assert readers.read(write(toy / "a.npy"))[0].name == "toy"


def test_find_reader__an_object_and_its_content(toy: Path) -> None:
    reader = readers.find_reader(write(toy / "a.other", b"OTHER"))
    assert type(reader).__name__ == "Other"
    with pytest.raises(EdsError, match="its content is of another kind"):
        readers.read(write(toy / "b.other"))


def test_extensions__those_of_other_packages(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {".bcf", ".toy", ".toy2", ".other"} <= set(readers.extensions())
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(toy.parent / "site")])
    assert ".toy" not in readers.extensions()


@pytest.mark.parametrize("name", ["a.broken", "a.half"])
def test_find_reader__one_that_cannot_be_used(toy: Path, name: str) -> None:
    with pytest.raises(EdsError, match=r"that toy-reader brings .*AttributeError.*update that"):
        readers.read(write(toy / name))


def test_read__damage_in_a_format_of_another_package(toy: Path) -> None:
    path = write(toy / "a.toy")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(EdsError, match=r"cannot read a\.toy: ValueError.*copy it again"):
        readers.read(path)
