"""Tests of labels and masks in a store of their own."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from eds_xr import labelling, masks
from eds_xr.schema import EdsError, label_array, phase_colors, phase_names


@pytest.fixture
def phases() -> xr.Dataset:
    coords = {"y": ("y", np.arange(7) * 0.5, {"units": "nm"}), "x": np.arange(9.0)}
    like = xr.DataArray(np.zeros((7, 9)), coords, ("y", "x"))
    values = np.random.default_rng(0).integers(0, 3, (7, 9)).astype(np.uint8)
    label = label_array(values, like, ["ore \u03b1", "rock"], ["#102030", "#405060"])
    label.attrs["history"] = ["{}"]
    present = xr.concat([label == 1, label == 2], dim="phase").assign_coords(
        phase=["ore_\u03b1", "rock"]
    )
    return xr.Dataset(
        {"label": label, "present": present, "probability": present.astype(np.float32)},
        attrs={"n_painted": np.array([3, 4]), "phase_notes": ["a note"], "least_share": 0.1},
    )


@pytest.mark.parametrize("chunks", [None, {"y": (3, 1, 3), "x": (2, 7)}], ids=["numpy", "uneven"])
def test_save_phases__any_reader_opens_it(
    phases: xr.Dataset, tmp_path: Path, chunks: dict | None
) -> None:
    ridden = phases.assign_coords(haadf=(("y", "x"), np.zeros((7, 9))))
    given = ridden if chunks is None else ridden.chunk(chunks)
    store = labelling.save_phases(given, tmp_path / "map.phases.zarr")
    with xr.open_zarr(store, consolidated=False) as again:
        xr.testing.assert_equal(again.load(), phases)
        assert phase_names(again.label) == ["ore_\u03b1", "rock"]
        assert phase_colors(again.label) == ["#102030", "#405060"]
        assert again.y.attrs["units"] == "nm"
        assert again.attrs["n_painted"] == [3, 4]
        np.testing.assert_array_equal(masks.from_labels(again.label), phases.present)


def test_save_phases__whole_or_not_at_all(phases: xr.Dataset, tmp_path: Path) -> None:
    store = labelling.save_phases(phases, tmp_path / "a.zarr")
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        labelling.save_phases(phases, store)
    labelling.save_phases(phases.isel(y=slice(3)), store, overwrite=True)
    assert xr.open_zarr(store, consolidated=False).sizes["y"] == 3

    def fail(block: np.ndarray) -> np.ndarray:
        raise EdsError("no such block")

    broken = phases.chunk()
    broken["present"] = broken.present.copy(data=broken.present.data.map_blocks(fail, dtype=bool))
    with pytest.raises(EdsError, match="no such block"):
        labelling.save_phases(broken, store, overwrite=True)
    assert xr.open_zarr(store, consolidated=False).sizes["y"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(EdsError, match="is not a label image store, so it is never replaced"):
        labelling.save_phases(phases, tmp_path / "other", overwrite=True)


def test_save_phases__refuses_what_are_none(phases: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="expected phases with 'label' and 'present'"):
        labelling.save_phases(phases.drop_vars("present"), tmp_path / "a.zarr")
    wrong = phases.assign(label=phases.label.assign_attrs(flag_meanings="none ore"))
    with pytest.raises(EdsError, match="hold labels 0 to 2, their flag_meanings name 1"):
        labelling.save_phases(wrong, tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


def test_save_phases__of_labels_and_masks_in_different_chunks(
    phases: xr.Dataset, tmp_path: Path
) -> None:
    apart = phases.assign(label=phases.label.chunk(y=3), present=phases.present.chunk(y=5, x=4))
    found = xr.open_zarr(labelling.save_phases(apart, tmp_path / "p.zarr"), consolidated=False)
    np.testing.assert_array_equal(found.label, phases.label)
    np.testing.assert_array_equal(found.present, phases.present)
