"""No public operation on a cluster brings anything as large as the image to the client, or from it.

Each is done twice, on an image and on one of four times the pixels, which lie with the workers:
what grows with the pixels is as large as the image. What is small, or the same for both, are
samples and results. The operations are those of :mod:`test_chunked_coordinates`, which has all.
"""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import test_chunked_coordinates as tables
import xarray as xr
from support.draw import slow_but
from support.traffic import Traffic, recorded

from eds_xr.schema import PHASE

SMALL, LARGE = (48, 52), (96, 104)
#: Of bytes of one value a pixel in float32; more than twice as much as of the small image.
MOST_SHARE, GROWS = 0.15, 2.0
#: Bounds of what is looked at of any image, lower than the small image has pixels.
BOUNDS = {
    "factorisation.one_read.BINNED_PIXELS": (32, 128),
    "factorisation.fit.MOST_SCORES": 500,
    "segmentation.presence.sample.SAMPLE_PIXELS": 1024,
    "segmentation.presence.sample.WINDOW": 16,
    "segmentation.presence.forest.LEARNT_PIXELS": 1000,
    "segmentation.presence.forest.N_TREES": 10,
    "segmentation.confident.MAX_SAMPLE_PIXELS": 500,
    "factorisation.rotation.MOST_BINS": 256,
    "factorisation.rotation.FEWEST_BINS": 64,
    "analysis.zoning.zoning.TILES": 4,
}

#: What is asked for is in this process: pictures, tables with a row a pixel, strokes, sessions.
BROUGHT_HERE = {
    name: reason
    for reason, names in {
        "a picture, or an app that shows one": (
            "explore", "label", "plot", "plot_maps", "plot_phases", "plot_profile", "plot_rgb",
            "plot_spectra", "dataset.plot", "plot_budget", "plot_components", "plot_fit",
            "dataset.plot_maps", "plot_partition", "dataset.plot_phases", "dataset.plot_profile",
            "plot_rank", "dataset.plot_rgb", "dataset.plot_spectra", "plot_strangers", "plot_table",
        ),
        "a table, or a text, of each value": (
            "to_table", "to_text", "write_csv", "formula_text", "upper_limits",
        ),
        "small arrays, of regions": ("formula", "oxides"),
        "outlines of all that is labelled": ("outlines", "save_phases"),
    }.items()
    for name in names
}  # fmt: skip


#: A mask or strokes, a byte a pixel, are looked at here: strokes are kept with the classifier.
OF_A_BYTE = {
    "remove_baseline", "train", "predict", "score_by_stroke", "save_classifier", "read",
    "segment_painted", *(f"labelling.{name}" for name in tables.LABELLING), "outlines",
}  # fmt: skip
#: What is added up in a tree, by the name of its last task: of few chunks that is another.
SUMS = {"getitem", "sums of pixels", "NMF step", "sums over bins"}


def _on_workers(data: Any, side: int) -> Any:
    """Return data that the workers keep, in chunks; what has no pixels stays."""
    if not {"y", "x"} <= set(data.dims):
        return data
    others = {d: -1 for d in data.dims if d not in ("y", "x")}
    return data.chunk({"y": side, "x": side, **others}).persist()


@pytest.fixture(scope="module")
def of_shape() -> dict[tuple[int, int], dict[str, Any]]:
    return {shape: tables.inputs_of(shape) for shape in (SMALL, LARGE)}


def _few(painted: xr.DataArray) -> xr.DataArray:
    """Return what is painted within as many pixels of any image, in strokes of each phase."""
    kept = painted.where(xr.DataArray(np.arange(painted.sizes["y"]) < 24, dims="y"), 0)
    columns = np.arange(painted.sizes["x"]) * 24 // painted.sizes["x"]
    first = np.diff(columns, prepend=-1) > 0
    return kept.where(xr.DataArray(first, dims="x"), 0).astype(np.uint8).assign_attrs(painted.attrs)


def _bytes(traffic: Traffic) -> Counter[str]:
    found: Counter[str] = Counter({"graphs that the client sends": traffic.sent})
    for name, size in traffic.to_client:
        found["sums of spectra" if name in SUMS else name] += size
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", slow_but(set(tables.CASES) - set(BROUGHT_HERE), ["nmf"], 12))
def test_every_operation__brings_nothing_as_large_as_the_image(
    name, of_shape, client, tmp_path, monkeypatch
):
    for place, value in BOUNDS.items():
        monkeypatch.setattr(f"eds_xr.{place}", value)
    found = []
    for shape, inputs in of_shape.items():
        few = {"painted": _few(inputs["painted"])}
        given = {n: _on_workers(data, shape[0] // 4) for n, data in (inputs | few).items()}
        (folder := tmp_path / str(shape[0])).mkdir()
        with recorded(client) as traffic:
            tables.CASES[name](SimpleNamespace(**given, folder=folder))
        found.append(_bytes(traffic))
    most = (MOST_SHARE * 4 + (4 if name in OF_A_BYTE else 0)) * LARGE[0] * LARGE[1]
    grown = {
        task: size
        for task, size in found[1].items()
        if size > most and size > GROWS * found[0][task]
    }
    assert not grown, f"{LARGE[0] * LARGE[1]} pixels; bytes: {grown}, of a quarter {found[0]}"


def test_recorded__sees_what_reaches_the_client_and_what_leaves_it(client):
    values = xr.DataArray(range(10_000), dims=PHASE)
    with recorded(client) as traffic:
        lazy = values.chunk({PHASE: 1000}).persist()
        (lazy + 1).compute()
    assert traffic.received >= 80_000  # eight bytes each
    assert traffic.sent >= 80_000
    assert sum(traffic.tasks.values()) >= 20
    assert sum(traffic.transitions.values()) > sum(traffic.tasks.values())
    with recorded(client) as traffic:
        assert int(lazy.sum()) == sum(range(10_000))
    assert traffic.received < 1000
    assert traffic.sent < 20_000
