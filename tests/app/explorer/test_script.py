import ast
from pathlib import Path

import numpy as np
import xarray as xr

import eds_xr
from eds_xr import simulate
from eds_xr.app.explorer.script import Script, name_of, opening_of, store_of


def test_script__what_is_done_anew_replaces_what_was() -> None:
    script = Script(["image = 1"])
    script.put("a", "x = 1")
    script.put("b", "y = 2")
    script.put("a", "x = 3")
    assert script.text() == "import eds_xr\n\nimage = 1\n\nx = 3\n\ny = 2\n"
    script.remove("a")
    assert "x" not in script.text().replace("eds_xr", "")


def test_script__imports_what_it_uses() -> None:
    script = Script([])
    script.put("a", 'r = [scribbles.line("A", [])]\nm = masks.from_rois(image, r)')
    assert "from eds_xr import masks, scribbles\n" in script.text()


def test_name_of__is_a_name_of_python() -> None:
    for text in ("Fe_Ka", "5.41 keV", "score: 0", "present: Brg+Fp", "ä", "", "0"):
        name = name_of(text)
        ast.parse(f"{name} = 1")
    assert name_of("a", ["a", "a_2"]) == "a_3"


def test_store_of__as_opened_only(tmp_path: Path) -> None:
    path = tmp_path / "scan.zarr"
    eds_xr.save(simulate.spectrum_image((8, 9, 64), 50.0, seed=1), path)
    image = eds_xr.open(path)
    assert store_of(image) == str(path)
    assert opening_of(image) == f"image = eds_xr.open({str(path)!r})"
    for changed in (
        image[:4],
        image * 2,
        image.compute(),
        image.rename("other").sel(x=image.x[1:]),
    ):
        assert store_of(changed) == ""
    assert opening_of(image[:4]).startswith("#")
    assert store_of(xr.DataArray(np.ones((2, 2)))) == ""
