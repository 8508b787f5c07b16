"""Results of the study on disk."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import xarray as xr
from support.drawn import composition

from eds_xr.analysis.deep_mantle.results import OXYGENS, SITES, save_results, save_tables
from eds_xr.analysis.deep_mantle.steps import ELEMENTS, PHASES


def test_sites__are_of_the_studied_elements_and_phases():
    assert set(OXYGENS) == set(SITES) == set(PHASES)
    for sites in SITES.values():
        named = [element for site in sites for element in site]
        assert len(set(named)) == len(named)
        assert set(named) <= set(ELEMENTS)


def test_save_results__whole_tree_opens_with_plain_xarray(tmp_path):
    """netCDF holds no empty list: such attributes are left out, all others come back."""
    part = xr.Dataset(
        {"a": ("x", np.arange(3.0), {"none": [], "units": "1"})}, attrs={"warnings": []}
    )
    part.attrs["history"] = ["one", "two"]
    names = "rotated segmentation spectra pure lines composition rank".split()
    study = SimpleNamespace(
        masks=xr.DataArray([True, False], dims="x"), **dict.fromkeys(names, part)
    )
    path = save_results(study, tmp_path / "all.nc")
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert {"scores", "masks", "rank"} <= set(tree.children)
        assert tree["masks"].mask.values.tolist() == [True, False]
        assert "warnings" not in tree["pure"].attrs
        assert list(tree["pure"].attrs["history"]) == ["one", "two"]
        assert dict(tree["pure"].a.attrs) == {"units": "1"}
    assert part.attrs["warnings"] == []  # the study's own stays as it was


def test_save_tables__replaces_those_of_an_earlier_run(tmp_path):
    made = {"composition": composition()}
    for _ in range(2):
        (path,) = save_tables(made, tmp_path)
    table = pd.read_csv(path, comment="#")
    assert path.name == "composition.csv"
    assert table["atomic_fraction"].groupby(table.phase).sum().round(9).tolist() == [1.0, 1.0]
