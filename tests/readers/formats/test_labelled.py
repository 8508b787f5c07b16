"""Arrays that xarray opens: netCDF 3 and 4, plain HDF5, Zarr of other programs."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from support.reading import COUNTS, HAADF, streamed

from eds_xr import readers, store
from eds_xr.provenance import history
from eds_xr.schema import EdsError

COORDS: dict[str, Any] = {
    "y": ("y", 1.5 * np.arange(7), {"units": "nm"}),
    "x": ("x", 1.5 * np.arange(5), {"units": "nm"}),
    "energy": ("energy", 0.01 * np.arange(32), {"units": "keV"}),
}
IMAGE = xr.DataArray(
    COUNTS, COORDS, ("y", "x", "energy"), "counts", {"signal_type": "EDS_TEM", "live_time_s": 3.5}
)


def written(dataset: xr.Dataset, path: Path, **options: Any) -> Path:
    if path.suffix == ".zarr":
        dataset.to_zarr(path, consolidated=False, **options)
    else:
        dataset.to_netcdf(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.nc", {"engine": "h5netcdf"}),
        ("a.h5", {"engine": "h5netcdf", "encoding": {"counts": {"chunksizes": (3, 5, 8)}}}),
        ("a.zarr", {"zarr_format": 2}),
        ("a.zarr", {"zarr_format": 3}),
    ],
)
@pytest.mark.parametrize("rows", [2, 7])
def test_read__each_kind_of_file(
    tmp_path: Path, name: str, options: dict[str, Any], rows: int
) -> None:
    (recording,) = readers.read(written(IMAGE.to_dataset(), tmp_path / name, **options))
    assert (recording.dims, recording.dtype) == (("y", "x", "energy"), np.uint16)
    np.testing.assert_array_equal(streamed(recording, rows), COUNTS)
    np.testing.assert_allclose(recording.axes[0].values, 1.5 * np.arange(7))
    assert recording.attrs == {"signal_type": "EDS_TEM", "live_time_s": 3.5}


def test_read__netcdf_3(tmp_path: Path) -> None:
    dataset = IMAGE.astype("i4").to_dataset()
    (recording,) = readers.read(written(dataset, tmp_path / "a.nc", engine="scipy"))
    np.testing.assert_array_equal(streamed(recording), COUNTS)


def test_convert__transposed_with_an_image_and_its_history(tmp_path: Path) -> None:
    image = IMAGE.assign_coords(haadf=(("y", "x"), HAADF)).transpose("energy", "y", "x")
    image.attrs["history"] = ['{"step": "rebin"}']
    path = written(image.to_dataset(), tmp_path / "a.nc", engine="h5netcdf")
    back = store.open(store.convert(path))
    np.testing.assert_array_equal(back, COUNTS)
    np.testing.assert_array_equal(back.haadf, HAADF)
    assert [step["step"] for step in history(back)] == ["rebin", "convert"]


def test_convert__another_program_s_zarr(tmp_path: Path) -> None:
    path = written(IMAGE.to_dataset(name="spectra"), tmp_path / "a.zarr", zarr_format=2)
    (recording,) = readers.read(path)
    assert recording.name == "spectra"
    np.testing.assert_array_equal(streamed(recording), COUNTS)


def test_read__energy_by_its_unit(tmp_path: Path) -> None:
    image = IMAGE.rename(energy="loss").assign_attrs(signal_type="EELS")
    image = image.assign_coords(loss=("loss", 400 + 0.5 * np.arange(32), {"units": "eV"}))
    path = written(image.to_dataset(), tmp_path / "a.nc", engine="h5netcdf")
    (recording,) = readers.read(path)
    assert recording.axes[-1].units == "eV"
    assert recording.axes[-1].values[0] == 400


def test_read__two_variables(tmp_path: Path) -> None:
    dataset = xr.Dataset({"one": IMAGE, "two": IMAGE + 1, "sum": IMAGE.sum("energy")})
    found = readers.read(written(dataset, tmp_path / "a.nc", engine="h5netcdf"))
    assert [r.name for r in found] == ["one", "two"]
    np.testing.assert_array_equal(found[0].images["sum"], COUNTS.sum(-1))


def test_read__without_energy(tmp_path: Path) -> None:
    dataset = IMAGE.drop_vars("energy").rename(energy="channel").to_dataset()
    path = written(dataset, tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(EdsError, match=r"no spectrum image.*'counts' with .*channel \(32\)"):
        readers.read(path)


def test_read__plain_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["counts"] = COUNTS
    with pytest.raises(EdsError, match="expected a variable with a dimension 'energy'"):
        readers.read(path)


def test_read__packed_values(tmp_path: Path) -> None:
    encoding = {"counts": {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}}
    dataset = IMAGE.astype("f4").to_dataset()
    path = written(dataset, tmp_path / "a.nc", engine="h5netcdf", encoding=encoding)
    with pytest.raises(EdsError, match=r"counts is packed \(scale_factor\)"):
        readers.read(path)


def test_read__uneven_energies(tmp_path: Path) -> None:
    image = IMAGE.assign_coords(energy=("energy", np.arange(32.0) ** 2, {"units": "eV"}))
    path = written(image.to_dataset(), tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(EdsError, match="energies that rise in equal steps"):
        readers.read(path)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
def test_read__cut_short(tmp_path: Path, part: float) -> None:
    path = written(IMAGE.to_dataset(), tmp_path / "a.nc", engine="h5netcdf")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(EdsError, match="cut short or damaged"):
        readers.read(path)
