"""HyperSpy's Zarr files, folder and zip: values, axes, metadata, damage, codecs that run code."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from rsciio.zspy._api import ZspyReader
from support.makers.zspy import write_zspy
from support.reading import COUNTS, HAADF, E, X, Y, axis, streamed

from eds_xr import readers, store
from eds_xr.schema import EdsError

FLAT = [{**Y, "navigate": False}, {**X, "navigate": False}]


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("chunks", [None, (2, 3, 32), (7, 5, 8), (1, 1, 32)])
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_read__blocks_are_the_file_s_values(
    tmp_path: Path, as_zip: bool, chunks: tuple[int, ...] | None, rows: int
) -> None:
    path = write_zspy(
        tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])}, as_zip=as_zip, chunks=chunks
    )
    (recording,) = readers.read(path)
    np.testing.assert_array_equal(streamed(recording, rows), COUNTS)


@pytest.mark.parametrize("as_zip", [False, True])
def test_convert__folder_and_zip(tmp_path: Path, as_zip: bool) -> None:
    signals = {"EDX": (COUNTS, [Y, X, E]), "HAADF": (HAADF, FLAT)}
    path = write_zspy(tmp_path / "a.zspy", signals, as_zip=as_zip)
    image = store.open(store.convert(path))
    np.testing.assert_array_equal(image, COUNTS)
    np.testing.assert_array_equal(image.haadf, HAADF)
    np.testing.assert_allclose(image.y, 2.0 * np.arange(7))
    np.testing.assert_allclose(image.energy, -0.1 + 0.01 * np.arange(32))
    assert image.attrs["elements"] == ["Mg", "Fe"]
    assert image.attrs["live_time_s"] == 12.5


def test_read__as_rosettasciio_s_reader_sees_it(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])})
    (recording,) = readers.read(path)
    group = zarr.open_group(path, mode="r", zarr_format=2)["Experiments/EDX"]
    reader = ZspyReader(zarr.open_group(path, mode="r", zarr_format=2))
    theirs = reader._group2dict(group["metadata"])
    ours = recording.original_metadata["metadata"]
    assert ours["Acquisition_instrument"] == theirs["Acquisition_instrument"]
    assert ours["General"] == theirs["General"] == {"title": "EDX", "notes": None}
    assert ours["Sample"]["elements"] == list(theirs["Sample"]["elements"])
    assert recording.original_metadata["original_metadata"]["Vendor"] == {
        "version": 1.5,
        "shift": [0, 1, 2],
    }
    np.testing.assert_array_equal(
        streamed(recording), np.asarray(reader._read_array(group, "data"))
    )


@pytest.mark.parametrize("position", [0, 1, 2])
def test_read__energy_may_be_any_axis_of_the_file(tmp_path: Path, position: int) -> None:
    axes = [Y, X]
    axes.insert(position, E)
    values = np.moveaxis(COUNTS, -1, position)
    (recording,) = readers.read(write_zspy(tmp_path / "a.zspy", {"EDX": (values, axes)}))
    assert recording.dims == ("y", "x", "energy")
    np.testing.assert_array_equal(streamed(recording), COUNTS)


def test_read__energy_loss_and_several_signals(tmp_path: Path) -> None:
    loss = axis("Energy", 0.5, "eV", offset=400)
    signals = {"one": (COUNTS.astype("f4"), [Y, X, loss]), "two": (COUNTS, [Y, X, loss])}
    found = readers.read(write_zspy(tmp_path / "a.zspy", signals, signal_type="EELS"))
    assert [(r.name, str(r.dtype)) for r in found] == [("one", "float32"), ("two", "uint16")]
    assert found[0].axes[-1].units == "eV"
    with pytest.raises(EdsError, match="choose signal= 'one', 'two'"):
        readers.select(found, None)


def test_read__image_only(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"HAADF": (HAADF, FLAT)})
    with pytest.raises(EdsError, match=r"no spectrum image.*'HAADF' with axes height \(7, µm\)"):
        readers.read(path)


def rewritten(path: Path, key: str, **changes: Any) -> Path:
    """Change the JSON of a node."""
    document = path / key
    document.write_text(json.dumps({**json.loads(document.read_text()), **changes}))
    return path


DATA = "Experiments/EDX/data/.zarray"
ELEMENTS = "Experiments/EDX/metadata/Sample/_list_elements"


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["HARM"],)


def test_read__a_pickle_is_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])})
    pickled = {"filters": [{"id": "pickle"}], "compressor": None}
    rewritten(path, f"{ELEMENTS}/.zarray", **pickled)
    content = pickle.dumps(Harm())
    (path / ELEMENTS / "0").write_bytes(content)
    readers.read(path)
    assert not (tmp_path / "harm").exists()
    rewritten(path, DATA, dtype="|O", **pickled)
    with pytest.raises(EdsError, match="with filters .*pickle.*expected plain numbers"):
        readers.read(path)
    assert not (tmp_path / "harm").exists()
    pickle.loads(content)  # it would have done harm
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [7, 5, 33]}, "axes of 'EDX' do not fit its data"),
        ({"chunks": [0, 5, 32]}, "the chunks of 'EDX' are"),
        ({"chunks": [2**20, 2**20, 32]}, "one of its chunks needs .* GB of memory"),
        ({"dtype": "<U8"}, "expected plain numbers"),
        ({"compressor": {"id": "pickle"}}, "expected plain numbers"),
    ],
)
def test_read__hostile_array(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])})
    with pytest.raises(EdsError, match=message):
        readers.read(rewritten(path, DATA, **changes))


def test_read__claims_far_more_than_it_holds(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])})
    rewritten(path, DATA, shape=[2**15, 2**15, 32])
    for i in range(2):
        rewritten(path, f"Experiments/EDX/axis-{i}/.zattrs", size=2**15)
    with pytest.raises(EdsError, match=r"68\.7 GB, but has .* bytes"):
        readers.read(path)


def test_row_blocks__damaged_chunk(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])})
    chunk = path / "Experiments/EDX/data/0/0/0"
    content = bytearray(chunk.read_bytes())
    content[4:8] = b"\xff\xff\xff\x7f"  # what it decodes to
    chunk.write_bytes(content)
    (recording,) = readers.read(path)
    with pytest.raises(EdsError, match="decodes to 2,147,483,647, is damaged"):
        list(recording.row_blocks(3))


def test_read__packed_twice(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])}, as_zip=True)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Experiments/EDX/data/0/0/9", bytes(20 * 2**20))
    with pytest.raises(EdsError, match="is packed a second time, to 20,971,520 bytes"):
        readers.read(path)


def test_read__entry_larger_than_the_file(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])}, as_zip=True)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")  # the last entry of the directory
    content[place + 20 : place + 28] = 2 * b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    with pytest.raises(EdsError, match="is larger than the whole file"):
        readers.read(path)


def test_read__names_that_lead_out_of_a_zip_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = write_zspy(tmp_path / "in/a.zspy", {"EDX": (COUNTS, [Y, X, E])}, as_zip=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../slipped/.zgroup", "{}")
    with pytest.raises(EdsError, match=r"'../slipped/.zgroup' leads out of the file"):
        readers.read(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_read__zip_cut_short(tmp_path: Path, part: float) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])}, as_zip=True)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(EdsError, match="cannot read a.zspy: BadZipFile"):
        readers.read(path)


def test_read__folder_without_group(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])})
    (path / ".zgroup").unlink()
    with pytest.raises(EdsError, match="is no Zarr group: it has no zarr.json or .zgroup"):
        readers.read(path)


def test_read__metadata_lost(tmp_path: Path) -> None:
    path = write_zspy(tmp_path / "a.zspy", {"EDX": (COUNTS, [Y, X, E])})
    shutil.rmtree(path / "Experiments/EDX/axis-1")
    with pytest.raises(EdsError, match="axes of 'EDX' do not fit"):
        readers.read(path)
