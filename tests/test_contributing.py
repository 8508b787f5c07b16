"""What CONTRIBUTING.md tells those who add something: its diagram and its examples hold."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from test_architecture import FLOORS

import eds_xr
from eds_xr import readers
from eds_xr.segmentation.features import kinds

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def example(heading: str) -> str:
    """Return the code below a heading."""
    (section,) = re.findall(rf"^### {heading}.*?(?=^##)", TEXT, re.DOTALL | re.MULTILINE)
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


@pytest.fixture
def sample() -> dict[str, Any]:
    """Names that the examples take as given: a map's scores and two phases' spectra."""
    image = eds_xr.simulate.spectrum_image((24, 24, 1024), 300.0, seed=1).drop_vars("haadf")
    left = (image.x < image.x.mean()) & (image.y >= image.y.min())
    masks = xr.concat([left, ~left], dim="phase").assign_coords(phase=["left", "right"])
    scores = eds_xr.element_maps(image, ["Mg", "Si"]).rename(line="component")
    return {"eds_xr": eds_xr, "spectra": eds_xr.sum_spectra(image, masks), "scores": scores}


def test_diagram__has_the_floors_of_the_code_in_their_order() -> None:
    (diagram,) = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    rows = [set(re.findall(r"\w+", line)) for line in diagram.splitlines()]
    height = [
        {i for i, row in enumerate(rows) for room in rooms if room in row} for rooms in FLOORS[:-1]
    ]
    assert all(len(found) == 1 for found in height)
    lowest_first = [found.pop() for found in height]
    assert lowest_first == sorted(lowest_first, reverse=True)


def test_reader__of_the_example_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_reader.py").write_text(example("A reader"))
    folder = tmp_path / "my_reader-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my_reader\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[eds_xr.readers]\n.spim = my_reader\n")
    monkeypatch.syspath_prepend(tmp_path)
    counts = np.random.default_rng(0).poisson(2.0, (5, 4, 16)).astype("<u2")
    path = tmp_path / "map.spim"
    path.write_bytes(struct.pack("<4s3Id", b"SPIM", *counts.shape, 0.01) + counts.tobytes())
    image = eds_xr.open(eds_xr.convert(path))
    np.testing.assert_array_equal(image, counts)
    assert float(image.energy[0]) == pytest.approx(0.005)
    (recording,) = readers.read(path)
    np.testing.assert_array_equal(np.concatenate(list(recording.row_blocks(2))), counts)


@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_background__of_the_example_is_fitted(sample: dict[str, Any]) -> None:
    exec(example("A background"), sample)
    lines = sample["lines"]
    silicon = lines.sel(line="Si_Ka")
    assert (silicon.net > 5 * silicon.variance**0.5).all()


def test_line__of_the_example_stands_at_its_energy(sample: dict[str, Any]) -> None:
    exec(example("A line"), sample)
    assert sample["peak_kev"] == pytest.approx(6.40, abs=0.01)


def test_feature__of_the_example_is_computed(sample: dict[str, Any]) -> None:
    before = dict(kinds.KINDS)
    try:
        exec(example("A feature"), sample)
        features = sample["features"].compute()
    finally:
        kinds.KINDS.clear()
        kinds.KINDS.update(before)
    assert features.sizes["feature"] == 2 * 2
    assert (features >= 0).all()
    assert float(features.max()) > 0


def test_figure__of_the_example_is_drawn(sample: dict[str, Any]) -> None:
    exec(example("A figure"), sample)
    (axes,) = sample["figure"].axes
    assert [bar.get_width() for bar in axes.patches] == list(
        sample["spectra"].counts.sum("energy").values
    )
