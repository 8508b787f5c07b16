"""Tests of graph cuts in tiles: chunks, workers, seams."""

import dask
import dask.array as da
import numpy as np
import pytest
from support.potts import defined_energy, noisy, picture

from eds_xr.segmentation.graph_cut import tiles
from eds_xr.segmentation.graph_cut.potts import potts_energy, smooth


@pytest.mark.usefixtures("small_tiles")
def test_energy__does_not_depend_on_tiles_and_chunks() -> None:
    p = noisy((70, 65))
    label = (p.argmax("phase") + 1).astype(np.uint8)
    apart = defined_energy(label.values[:8].astype(int) - 1, p.values[:, :8], 1.0, 8)
    assert potts_energy(label[:8], p[:, :8]) == pytest.approx(apart, abs=1e-2)
    assert potts_energy(label, p) == potts_energy(label.chunk(x=9), p.chunk(y=17, phase=1))


@pytest.mark.parametrize("memory_bytes", [1e9, 0])
@pytest.mark.usefixtures("small_tiles")
def test_smooth__depends_on_neither_chunks_nor_workers(memory_bytes: float) -> None:
    p = noisy((70, 45), 3)
    edges = picture(p)
    wanted = smooth(p, edge_image=edges, memory_bytes=memory_bytes)
    for chunks, workers in (({"y": 4, "x": 5}, 1), ({"phase": 1, "y": 33}, 3)):
        with dask.config.set(num_workers=workers):
            found = smooth(p.chunk(chunks), edge_image=edges.chunk(x=7), memory_bytes=memory_bytes)
        np.testing.assert_array_equal(found, wanted)
        assert found.attrs == wanted.attrs


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.usefixtures("small_tiles")
def test_smooth__tiles_are_near_the_whole(n: int) -> None:
    p = noisy((150, 131), n)
    whole, tiled = smooth(p), smooth(p, memory_bytes=0)
    assert tiled.attrs["energy"] == pytest.approx(potts_energy(tiled, p), abs=1e-9)
    assert tiled.attrs["energy"] <= 1.001 * whole.attrs["energy"]
    if n == 2:
        assert tiled.attrs["energy"] >= whole.attrs["energy"]


@pytest.mark.usefixtures("small_tiles")
def test_smooth__repair_of_seams_lowers_the_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PLANE_HALO", (0, 0, 0))
    p = noisy((100, 100))
    model = tiles.PottsModel(1.0, 8)
    image = da.from_array(p.values[:, None])
    repaired, least = tiles.label_tiled(image, None, model, {})
    apart = np.empty_like(repaired)
    for box in tiles._boxes(image.shape[1:], model.tile, 0):
        apart[box] = tiles._label_block(
            p.values[:, None][(slice(None), *box)], None, model, (slice(None),) * 3
        )
    assert least < tiles.energy_of(apart, image, None, model, {})
    assert least == pytest.approx(tiles.energy_of(repaired, image, None, model, {}), abs=1e-9)
