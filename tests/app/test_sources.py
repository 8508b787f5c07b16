from pathlib import Path

import numpy as np
import pytest

import eds_xr
from eds_xr import simulate
from eds_xr.analysis.files import TREE
from eds_xr.app.sources import opened
from eds_xr.schema import EdsError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "scan.zarr"
    eds_xr.save(simulate.spectrum_image((8, 9, 128), 50.0, seed=1), path)
    return path


def test_opened__a_store(store: Path) -> None:
    found = opened(str(store))
    assert (found.image.shape, found.result, found.name) == ((8, 9, 128), None, "scan.zarr")
    assert found.folder == store.parent.resolve()
    names = {"eds_xr": eds_xr}
    exec("\n".join(found.code), names)
    np.testing.assert_array_equal(names["image"], found.image)


def test_opened__a_vendor_file_is_converted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "map.npy", np.ones((8, 9, 16), np.uint16))
    axes = '{"energy_offset_kev": 0.0, "energy_step_kev": 0.01, "pixel_size_nm": 1.0}'
    (tmp_path / "map.json").write_text(axes)
    first = opened(str(tmp_path / "map.npy"))
    assert first.name == "map.zarr"
    assert eds_xr.open(tmp_path / "map.zarr", binned=8).shape == (1, 2, 16)
    assert "is converted" in capsys.readouterr().err
    opened(str(tmp_path / "map.npy"))
    assert "before" in capsys.readouterr().err


def test_opened__an_analysis(store: Path, tmp_path: Path) -> None:
    import xarray as xr

    tree = xr.DataTree.from_dict({"rank": xr.Dataset({"gain": ("rank", [1.0])})})
    tree.attrs["source"] = str(store)
    tree.to_zarr(tmp_path / TREE, consolidated=False)
    for given in (tmp_path, tmp_path / TREE):
        found = opened(str(given))
        assert found.image.shape == (8, 9, 128)
        assert found.result is not None
        names = {"eds_xr": eds_xr}
        exec("\n".join(found.code), names)
        assert "rank" in names["result"].children
    eds_xr.save(simulate.spectrum_image((4, 4, 128), 50.0, seed=1), tmp_path / "counts.zarr")
    assert opened(str(tmp_path)).image.shape == (4, 4, 128)


def test_opened__an_analysis_whose_image_is_gone(tmp_path: Path) -> None:
    import xarray as xr

    tree = xr.DataTree.from_dict({"rank": xr.Dataset({"gain": ("rank", [1.0])})})
    tree.attrs["source"] = str(tmp_path / "gone.zarr")
    tree.to_zarr(tmp_path / TREE, consolidated=False)
    with pytest.raises(EdsError, match=r"not at .*gone\.zarr any more"):
        opened(str(tmp_path))
