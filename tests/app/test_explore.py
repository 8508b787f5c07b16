import io
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

pytest.importorskip("panel", reason="the extra 'label' is not installed")

import eds_xr  # noqa: E402
from eds_xr import simulate  # noqa: E402
from eds_xr.app.explorer import still  # noqa: E402
from eds_xr.schema import EdsError  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "scan.zarr"
    eds_xr.save(simulate.spectrum_image((40, 50, 512), 200.0, seed=1), path)
    return path


@pytest.fixture
def image(store: Path) -> xr.DataArray:
    return eds_xr.open(store)


def test_explore__regions_and_spectra_can_be_asked_for(image: xr.DataArray) -> None:
    made = image.eds.explore()
    assert made.name == "scan.zarr"
    made.explorer.add_region("rectangle", [(2, 3), (12, 13)])
    assert made.regions.sum() == 100
    np.testing.assert_array_equal(
        made.spectra().counts[0], image[2:12, 3:13].sum(("y", "x")).compute()
    )
    assert "scribbles.rectangle" in made.script


def test_explore__without_the_extra(image: xr.DataArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eds_xr.app.serving.extra.find_spec", lambda _: None)
    with pytest.raises(EdsError, match=r"pip install 'eds-xr\[label\]'"):
        eds_xr.explore(image)


def test_still_picture__map_and_spectrum(image: xr.DataArray) -> None:
    made = eds_xr.explore(image)
    shown = np.asarray(Image.open(io.BytesIO(still.still_picture(made.explorer))).convert("L"))
    assert shown.shape[1] > shown.shape[0] > 100
    assert shown.std() > 20


def test_still_picture__of_what_takes_long_is_what_there_is(
    image: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(still, "MOST_SECONDS", -1.0)
    assert still.still_picture(eds_xr.explore(image).explorer).startswith(b"\x89PNG")
