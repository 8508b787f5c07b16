import json

import numpy as np
import xarray as xr

from eds_xr import provenance


def test_with_step__appends_and_leaves_its_input_alone():
    first = provenance.with_step({"title": "map"}, "rebin", y=2)
    second = provenance.with_step(first, "nmf", seed=0)
    steps = provenance.history(xr.DataArray(0, attrs=second))
    assert [s["step"] for s in steps] == ["rebin", "nmf"]
    assert steps[0]["y"] == 2
    assert steps[1]["eds_xr"] == provenance.package_version()
    assert len(first["history"]) == 1
    assert second["title"] == "map"


def test_with_step__numbers_of_numpy_stay_numbers(tmp_path):
    attrs = provenance.with_step(
        {}, "fit", n=np.int64(3), share=np.float32(0.5), axis=np.arange(2), path=tmp_path
    )
    (step,) = provenance.history(xr.Dataset(attrs=attrs))
    assert (step["n"], step["share"], step["axis"]) == (3, 0.5, [0, 1])
    assert step["path"] == str(tmp_path)


def test_history__survives_zarr(tmp_path):
    attrs = provenance.with_step(provenance.with_step({}, "a"), "b")
    data = xr.Dataset({"v": ("x", [1.0])}, attrs=attrs)
    data.to_zarr(tmp_path / "a.zarr", consolidated=False)
    stored = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    assert provenance.history(stored) == provenance.history(data)
    one = xr.Dataset(attrs={"history": json.dumps({"step": "a"})})  # netCDF's list of one
    assert provenance.history(one) == [{"step": "a"}]


def test_history__keeps_lines_of_other_programs():
    data = xr.Dataset(attrs={"history": "2024-01-01 ncks in.nc out.nc"})
    assert provenance.history(data) == [{"step": "note", "text": "2024-01-01 ncks in.nc out.nc"}]
    assert provenance.history(xr.Dataset()) == []
