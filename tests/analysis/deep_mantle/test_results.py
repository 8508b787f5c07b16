"""Results of the study on disk."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import xarray as xr
from support.drawn import composition

from eds_xr.analysis.deep_mantle.results import SITES, save_results, save_tables
from eds_xr.analysis.deep_mantle.study import PHASES, RECIPE


def test_sites__are_of_the_studied_elements_and_phases():
    assert set(SITES) == set(PHASES)
    for sites in SITES.values():
        named = [element for site in sites for element in site]
        assert len(set(named)) == len(named)
        assert set(named) <= set(RECIPE.elements.sample)


def test_save_results__whole_tree_opens_with_plain_xarray(tmp_path):
    """netCDF holds no empty list: such attributes are left out, all others come back."""
    part = xr.Dataset(
        {"a": ("x", np.arange(3.0), {"none": [], "units": "1"})}, attrs={"warnings": []}
    )
    part.attrs["history"] = ["one", "two"]
    tree = xr.DataTree.from_dict({"pure": part, "rank": part, "masks": part})
    study = SimpleNamespace(tree=tree, masks=xr.DataArray([True, False], dims="x"))
    path = save_results(study, tmp_path / "all.nc")
    with xr.open_datatree(path, engine="h5netcdf") as read:
        assert {"pure", "masks", "rank"} <= set(read.children)
        assert read["masks"].mask.values.tolist() == [True, False]
        assert "warnings" not in read["pure"].attrs
        assert list(read["pure"].attrs["history"]) == ["one", "two"]
        assert dict(read["pure"].a.attrs) == {"units": "1"}
    assert tree["pure"].attrs["warnings"] == []  # the study's own stays as it was


def test_save_tables__replaces_those_of_an_earlier_run(tmp_path):
    made = {"composition": composition()}
    for _ in range(2):
        (path,) = save_tables(made, tmp_path)
    table = pd.read_csv(path, comment="#")
    assert path.name == "composition.csv"
    assert table["atomic_fraction"].groupby(table.phase).sum().round(9).tolist() == [1.0, 1.0]
