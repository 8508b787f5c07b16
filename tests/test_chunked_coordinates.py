"""Every public function takes images whose coordinates are chunked unlike the counts.

On the way, what its tasks are called on Dask's dashboard: what they make, not what makes them.

A HAADF image rides along as a coordinate in chunks of its own. Here whoever reads its values
fails: no function needs them, so none may load them.
"""

import inspect
import re
import sys
import warnings
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.base import is_dask_collection
from dask.callbacks import Callback
from dask.utils import key_split
from sklearn.ensemble import RandomForestClassifier
from support.draw import slow_but

import eds_xr
from eds_xr import (
    accessor,
    classify,
    features,
    graph_cut,
    k_factors,
    labelling,
    masks,
    scribbles,
    simulate,
)
from eds_xr.analysis.recipe import ElementChoice, FitChoice
from eds_xr.app.pictures.worker import Job
from eds_xr.schema import PHASE, phase_names
from eds_xr.segmentation.classify.quality import uncertainty

SHAPE = (30, 33)
#: Uneven, and unlike each other.
OF_DATA = {"y": (7, 12, 11), "x": (13, 20)}
OF_LABELS = {"y": (15, 15), "x": (4, 20, 9)}
OF_HAADF = ((16, 14), (5, 28))
ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
SPANS = xr.Dataset(
    {"low": ("ratio", [0.1]), "value": ("ratio", [1.0]), "high": ("ratio", [9.0]),
     "low_by": ("ratio", ["one bound"]), "high_by": ("ratio", ["another"])},
    {"ratio": ["Mg/Si"]},
).expand_dims(phase=["one", "two"])  # fmt: skip
LINES = {"elements": ELEMENTS, "stray": ["Cu"], "range_kev": (0.9, 9.0)}


def _fail(block: np.ndarray) -> np.ndarray:
    raise AssertionError("the HAADF image was read")


def _ridden(data: Any, *, readable: bool = False) -> Any:
    """Return data in uneven chunks, with a HAADF image in others that nobody may read."""
    if not _has_pixels(data):
        return data.chunk({PHASE: 1}) if PHASE in data.dims else data.chunk()
    haadf = da.zeros(SHAPE, chunks=OF_HAADF)
    if not readable:
        haadf = haadf.map_blocks(_fail, meta=np.empty((0, 0)))
    is_label = isinstance(data, xr.DataArray) and data.dtype.kind in "bu" and data.name != "counts"
    others = {d: -1 for d in data.dims if d not in OF_DATA}
    chunks = (OF_LABELS if is_label else OF_DATA) | others
    return data.chunk(chunks).assign_coords(haadf=(("y", "x"), haadf))


def _with_haadf(data: Any) -> Any:
    return data.assign_coords(haadf=(("y", "x"), np.zeros(SHAPE))) if _has_pixels(data) else data


def _has_pixels(data: Any) -> bool:
    return {"y", "x"} <= set(data.dims)


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    """What functions take, on NumPy."""
    return inputs_of(SHAPE)


@cache
def inputs_of(shape: tuple[int, int]) -> dict[str, Any]:
    """Return what functions take of an image of this shape, on NumPy; made once."""
    image = simulate.spectrum_image(shape=(*shape, 1024), dose=400.0, seed=3)
    image = image.drop_vars("haadf").compute()
    factors = eds_xr.nmf(image, 3, max_iter=10).compute()
    scores = factors.scores.assign_coords(component=["a", "b", "c"])
    values = 1 + (np.arange(shape[1]) * 3 // shape[1]) + np.zeros((shape[0], 1), int)
    label = eds_xr.schema.label_array(values.astype(np.uint8), image, ["one", "two", "three"])
    painted = label.where((np.arange(shape[0]) % 5 < 3)[:, None], 0).astype(np.uint8)
    painted.attrs = label.attrs
    several = masks.from_labels(label)
    spectra = eds_xr.sum_spectra(image, several).compute()
    pixels = eds_xr.rebin(image, energy=4).compute()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # O is left out; which test asks first differs
        lines = eds_xr.fit_lines(spectra, **LINES)
        maps = eds_xr.fitted_maps(image, **LINES).compute()
    maps["net"] = np.abs(maps.net) + 5
    composition = eds_xr.quantify(lines)
    made = scores.rename(component=PHASE).transpose(PHASE, ...).clip(min=1)
    return {
        "image": image,
        "factors": factors,
        "scores": scores,
        "label": label,
        "painted": painted,
        "masks": several,
        "mask": several.isel({PHASE: 0}, drop=True),
        "probability": (made / made.sum(PHASE)).astype(np.float32),
        "features": features.pixel_features(scores, kinds=("gaussian",), scales=(1.0, 4.0)),
        "spectra": spectra,
        "pixels": xr.Dataset({"counts": pixels, "variance": pixels}),
        "lines": lines,
        "line_maps": maps,
        "composition": composition,
        "composition_maps": eds_xr.quantify(maps),
        "formula_maps": eds_xr.formula(eds_xr.quantify(maps), oxygens=3),
    }  # fmt: skip


FOREST = RandomForestClassifier(10, random_state=0)

RECIPE = eds_xr.Recipe(
    elements=ElementChoice(sample=("Mg", "Si", "Ca", "Fe"), stray=("Cu",)),
    number=2,
    fit=FitChoice(range_kev=(0.9, 9.0)),
)

Case = Callable[[Any], Any]

#: Methods of ``.eds`` of DataArrays.
OF_ARRAYS: dict[str, Case] = {
    "extend_loadings": lambda i: i.image.eds.extend_loadings(i.factors, max_iter=2),
    "rebin": lambda i: i.image.eds.rebin(y=2, x=4, energy=2),
    "split_counts": lambda i: i.image.eds.split_counts(seed=1),
    "element_map": lambda i: i.image.eds.element_map("Mg"),
    "element_maps": lambda i: i.image.eds.element_maps(["Mg", "Fe"], background=False),
    "fitted_maps": lambda i: i.image.eds.fitted_maps(**LINES),
    "hold_out": lambda i: i.image.eds.hold_out(["Fe"]),
    "nmf": lambda i: i.image.eds.nmf(3, max_iter=5),
    "nmf_spread": lambda i: i.image.eds.nmf_spread(2, seeds=2, max_iter=3),
    "suggest_rank": lambda i: i.image.eds.suggest_rank(max_rank=3),
    "project": lambda i: i.image.eds.project(i.factors.loadings),
    "mixing_intervals": lambda i: i.image.eds.mixing_intervals(
        i.factors, [("Mg", "Si")], ELEMENTS, stray=["Cu"], range_kev=LINES["range_kev"]
    ),
    "unmix": lambda i: i.image.eds.unmix(i.spectra),
    "unexplained": lambda i: i.image.eds.unexplained(i.spectra),
    "find_strangers": lambda i: i.image.eds.find_strangers(i.spectra, elements=[*ELEMENTS, "Cu"]),
    "zoning": lambda i: i.image.eds.zoning(i.factors, masks=i.masks, elements=ELEMENTS),
    "refine_spectra": lambda i: i.image.eds.refine_spectra(i.spectra, mask=i.painted > 0),
    "segment": lambda i: i.image.eds.segment(n_components=2),
    "explore": lambda i: _explored(i.image.eds.explore()),
    "label": lambda i: _labelled(i.image.eds.label(channels=i.scores), i),
    "analyse": lambda i: i.image.eds.analyse(RECIPE)["lines"].to_dataset(),
    "plan": lambda i: i.image.eds.plan("segment", memory="3 GB", workers=2).read_bytes,
    "sum_spectra": lambda i: i.image.eds.sum_spectra(i.masks),
    "sum_detectors": lambda i: _apart(i.image).eds.sum_detectors(),
    "with_detector": lambda i: i.image.eds.with_detector({"window_nm": 300.0}),
    "compare_detectors": lambda i: _apart(i.image).eds.compare_detectors(**LINES),
    "confident_pixels": lambda i: i.scores.eds.confident_pixels(),
    "significance": lambda i: i.scores.eds.significance(i.mask),
    "masks": lambda i: i.label.eds.masks(),
    "describe": lambda i: i.masks.eds.describe(),
    "plot": lambda i: _drawn(i.image.sum("energy").eds.plot()),
    "plot_maps": lambda i: _drawn(i.image.eds.plot_maps()),
    "plot_phases": lambda i: _drawn(i.masks.eds.plot_phases()),
    "plot_profile": lambda i: _drawn(
        i.image.eds.element_maps(["Mg"]).eds.plot_profile((0, 0), (20, 30))
    ),
    "plot_rgb": lambda i: _drawn(i.scores.eds.plot_rgb()),
    "plot_spectra": lambda i: _drawn(i.image.eds.plot_spectra()),
}

#: Methods of ``.eds`` of Datasets.
OF_DATASETS: dict[str, Case] = {
    "component_kinds": lambda i: i.factors.eds.component_kinds(),
    "merge_kinds": lambda i: i.factors.eds.merge_kinds(i.factors.eds.component_kinds()),
    "purest": lambda i: i.factors.eds.purest(),
    "mixing_uncertainty": lambda i: i.factors.eds.mixing_uncertainty(),
    "wider_than_stated": lambda i: "\n".join(SPANS.eds.wider_than_stated(i.composition)),
    "remove_baseline": lambda i: i.factors.eds.remove_baseline(0, i.mask),
    "subtract_phase": lambda i: i.spectra.isel(phase=0).eds.subtract_phase(
        i.spectra.isel(phase=1), scale=0.3
    ),
    "subtract_hole": lambda i: i.spectra.eds.subtract_hole(i.spectra.isel(phase=0), scale=0.01),
    "sum_detectors": lambda i: i.spectra.rename(phase="detector").eds.sum_detectors(),
    "compare_detectors": lambda i: (
        i.spectra.isel(phase=[0, 0])
        .drop_vars("phase")
        .rename(phase="detector")
        .eds.compare_detectors(**LINES)
    ),
    "with_detector": lambda i: i.spectra.eds.with_detector({"window_nm": 300.0}),
    "net_counts": lambda i: i.pixels.eds.net_counts("Mg_Ka"),
    "identify": lambda i: i.spectra.isel(phase=0).eds.identify(
        expected=["Mg", "Si"], candidates=ELEMENTS
    ),
    "fit_lines": lambda i: i.pixels.isel(y=slice(6, 8)).eds.fit_lines(**LINES),
    "add_common_errors": lambda i: i.lines.isel(phase=0).eds.add_common_errors(
        i.spectra.isel(phase=0).assign(
            scale_variance=0.01,
            scale_slope=i.spectra.counts.isel(phase=1),
            scale_by_counts=0 * i.spectra.counts.isel(phase=1),
        )
    ),
    "compare_regions": lambda i: i.spectra.eds.compare_regions(
        i.lines, reference="one", masks=i.masks
    ),
    "quantify": lambda i: i.line_maps.eds.quantify(
        thickness_nm=50.0, density_g_cm3=4.0, take_off_angle_deg=22.0
    ),
    "thickness_map": lambda i: i.line_maps.eds.thickness_map(
        pixels=4, take_off_angle_deg=22.0, valences={"Si": -4}
    ),
    "quantify_zeta": lambda i: i.line_maps.eds.quantify_zeta(
        _table(i.line_maps, "zeta", 500.0), dose_electrons=_dose(i), take_off_angle_deg=22.0
    ),
    "quantify_cross_sections": lambda i: i.line_maps.eds.quantify_cross_sections(
        _table(i.line_maps, "cross_section", 20.0), dose_electrons=_dose(i), absorption=False
    ),
    "ratio": lambda i: i.composition_maps.eds.ratio("Mg", other="Si"),
    "oxides": lambda i: i.composition_maps.eds.oxides(),
    "formula": lambda i: i.composition_maps.eds.formula(oxygens=3),
    "formula_text": lambda i: i.formula_maps.eds.formula_text(),
    "partition_coefficients": lambda i: i.composition.eds.partition_coefficients(
        "one", reference="two"
    ),
    "budget": lambda i: i.composition.eds.budget(),
    "upper_limits": lambda i: i.line_maps.eds.upper_limits(),
    "to_table": lambda i: i.line_maps.eds.to_table(),
    "to_text": lambda i: i.composition_maps.eds.to_text(),
    "write_csv": lambda i: i.composition_maps.eds.write_csv(
        i.folder / "a.csv", overwrite=True
    ).read_text(),
    "plot": lambda i: _drawn(i.spectra.eds.plot()),
    "plot_budget": lambda i: _drawn(i.lines.eds.plot_budget()),
    "plot_components": lambda i: _drawn(i.factors.eds.plot_components()),
    "plot_fit": lambda i: _drawn(i.spectra.eds.plot_fit(i.lines)),
    "plot_maps": lambda i: _drawn(i.line_maps.eds.plot_maps()),
    "plot_partition": lambda i: _drawn(
        i.composition.eds.partition_coefficients("one", reference="two").eds.plot_partition()
    ),
    "plot_phases": lambda i: _drawn(i.masks.to_dataset(name="mask").eds.plot_phases()),
    "plot_profile": lambda i: _drawn(i.line_maps.eds.plot_profile((0, 0), (20, 30))),
    "plot_rank": lambda i: _drawn(i.image.eds.suggest_rank(max_rank=3).eds.plot_rank()),
    "plot_rgb": lambda i: _drawn(i.line_maps.eds.plot_rgb(["Mg", "Si", "Ca"])),
    "plot_spectra": lambda i: _drawn(i.spectra.eds.plot_spectra()),
    "plot_strangers": lambda i: _drawn(
        i.image.eds.find_strangers(i.factors, elements=[*ELEMENTS, "Cu"]).eds.plot_strangers()
    ),
    "plot_table": lambda i: _drawn(i.composition.eds.plot_table()),
}

#: Functions without a method.
OTHERS: dict[str, Case] = {
    "calibrate": lambda i: eds_xr.calibrate(i.spectra, ELEMENTS),
    "history": lambda i: eds_xr.history(i.image),
    "move_shares": lambda i: eds_xr.move_shares(
        i.factors, 0, xr.DataArray([0.0, 0.1, 0.2], dims="component")
    ),
    "with_detector": lambda i: eds_xr.with_detector(i.image, {"window_nm": 300.0}),
    "k_factors.from_standard": lambda i: k_factors.from_standard(_one_line(i), "MgO"),
    "k_factors.zeta_from_standard": lambda i: k_factors.zeta_from_standard(
        _one_line(i),
        "MgO",
        mass_thickness_kg_m2=3e-4,
        dose_electrons=1e12,
        thickness_uncertainty=0.1,
        dose_uncertainty=0.05,
        absorption=False,
    ),
    "shared_covariance": lambda i: eds_xr.shared_covariance(
        i.lines, i.composition, phase="one", reference="two", factor=0.5
    ),
}

MASKS: dict[str, Case] = {
    "commonest_ratio": lambda i: masks.commonest_ratio(i.scores, "a", i.mask),
    "confident_pixels": OF_ARRAYS["confident_pixels"],
    "describe": OF_ARRAYS["describe"],
    "erode": lambda i: masks.erode(i.masks, pixels=2),
    "exclude": lambda i: masks.exclude(i.mask, i.masks.isel(phase=1)),
    "fill_holes": lambda i: masks.fill_holes(i.masks, max_pixels=5),
    "from_labels": OF_ARRAYS["masks"],
    "from_rectangle": lambda i: masks.from_rectangle(i.image, y_pixels=(1, 9), x_pixels=(3, 20)),
    "from_rois": lambda i: masks.from_rois(i.image, [scribbles.oval("a", (1, 9), (3, 20))]),
    "inner_square": lambda i: masks.inner_square(i.mask, pixels=5),
    "overlap": lambda i: masks.overlap(i.mask, i.masks.isel(phase=0)),
    "remove_small": lambda i: masks.remove_small(i.masks, min_pixels=5),
    "significance": OF_ARRAYS["significance"],
    "threshold": lambda i: masks.threshold(i.image.sum("energy")),
    "tiles": lambda i: masks.tiles(i.mask, per_side=3),
}

PIXELS: dict[str, Case] = {
    "pixel_features": lambda i: features.pixel_features(i.scores, kinds=("gaussian", "entropy")),
    "as_channels": lambda i: features.as_channels(i.scores),
    "train": lambda i: _trained(i).n_painted,
    "predict": lambda i: classify.predict(_trained(i), i.features),
    "score_by_stroke": lambda i: classify.score_by_stroke(
        i.features, i.painted, classifier=FOREST, folds=2
    ),
    "save_classifier": lambda i: classify.load(
        classify.save(_trained(i), i.folder / "c.skops", overwrite=True)
    ).scribbles,
    "smooth": lambda i: graph_cut.smooth(i.probability, edge_image=i.scores),
    "energy": lambda i: graph_cut.potts_energy(i.label, i.probability),
    "composition": lambda i: graph_cut.edge_image(i.scores),
    "uncertainty": lambda i: uncertainty(i.probability),
    "paint": lambda i: scribbles.paint([scribbles.rectangle("a", (1, 9), (3, 20))], i.image),
    "outlines": lambda i: [r.phase for r in scribbles.outlines(i.label)],
    "read": lambda i: scribbles.read(
        scribbles.write(i.label, i.folder / "l.zarr", overwrite=True), i.image
    ),
    "segment_painted": lambda i: i.scores.eds.segment(i.painted),
}  # fmt: skip

LABELLING: dict[str, Case] = {
    "add_image": lambda i: [image.grid for image in _session(i).images],
    "scribbles_of": lambda i: labelling.scribbles_of(_session(i), like=i.image),
    "features_of": lambda i: labelling.features_of(_session(i), i.scores),
    "score_session": lambda i: labelling.score_session(_session(i), i.features),
    "probabilities_of": lambda i: labelling.probabilities_of(_learnt(i), i.features),
    "phases_of": lambda i: labelling.phases_of(
        _learnt(i), labelling.probabilities_of(_learnt(i), i.features)
    ),
    "save_phases": lambda i: _saved_phases(i),
}

CASES = (
    OF_ARRAYS
    | {n if n not in OF_ARRAYS else f"dataset.{n}": c for n, c in OF_DATASETS.items()}
    | OTHERS
    | PIXELS
    | {f"labelling.{n}": c for n, c in LABELLING.items()}
    | {f"masks.{n}": c for n, c in MASKS.items()}
)
#: Their tables have a column of it.
READ_COORDINATES = {"to_table", "write_csv"}
#: Not of an image, or (save) reading its coordinates: tested apart.
NOT_OF_IMAGES = {
    "check", "convert", "info", "open", "read_recipe", "save", "standardless_k_factors",
    "supervised", "write_recipe",
}  # fmt: skip


def _apart(image: xr.DataArray) -> xr.DataArray:
    """Return an image of two equal detectors."""
    return xr.concat([image, image], dim=xr.Variable("detector", ["one", "two"]))


def _trained(i: Any) -> classify.PixelClassifier:
    return classify.train(i.features, i.painted, classifier=FOREST)


def _explored(explored: Any) -> list[Any]:
    """Return spectra of what an explorer looks at."""
    explored.explorer.add_region("rectangle", [(3, 2), (20, 19)])
    one = explored.explorer.pixel_spectrum(8.0, 9.0)
    return [explored.explorer.region_spectrum("A", Job()), one, explored.spectra()]


def _labelled(app, i):
    """Paint what is painted, train, and close; return the probabilities."""
    app.labeller.painting.replace_strokes(scribbles.outlines(i.painted))
    app.labeller.train()
    app.labeller.wait()
    app.close()
    return app.probability


def _one_line(i: Any) -> Any:
    """Return the map of a line, which no other line shows to be a standard of several phases."""
    return i.line_maps.sel(line=["Mg_Ka"])


def _session(i: Any) -> labelling.Session:
    """Return a session in which what was painted is drawn."""
    session = labelling.add_image(labelling.Session(), "map", i.image)
    for name in phase_names(i.painted):
        session = labelling.add_class(session, name)
    for roi in scribbles.outlines(i.painted):
        session = labelling.add_stroke(session, roi)
    return labelling.set_parameter(session, "n_trees", 20)


def _learnt(i: Any) -> labelling.Session:
    return labelling.train_session(_session(i), i.features)


def _saved_phases(i: Any) -> xr.Dataset:
    phases = i.masks.to_dataset(name="present").assign(label=i.label)
    store = labelling.save_phases(phases, i.folder / "p.zarr", overwrite=True)
    return xr.open_zarr(store, consolidated=False).load()


def _drawn(figure: Any) -> list[Any]:
    """Return what was drawn."""
    values = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]
    return values + [np.asarray(line.get_ydata()) for axes in figure.axes for line in axes.lines]


def _table(lines: xr.Dataset, name: str, value: float) -> xr.Dataset:
    n = lines.sizes["line"]
    return xr.Dataset(
        {
            name: ("line", np.full(n, value)),
            "standard_deviation": ("line", np.full(n, 0.1 * value)),
        },
        {"line": lines.line.values},
    )


def _dose(i: Any) -> xr.DataArray:
    return (i.image.sum("energy") * 0 + 1e9).astype(float)


@cache
def _kernels() -> frozenset[str]:
    """Return private functions and kernels of the package, as Dask would call their tasks.

    Words alone are left out: ``where`` is Dask's, too.
    """
    modules = [m for n, m in sys.modules.items() if n.startswith("eds_xr")]
    functions = {f.__qualname__ for m in modules for f in vars(m).values() if inspect.isfunction(f)}
    found = {n for n in functions if n.startswith("_") or n.endswith("_block")}
    return frozenset(n.strip("_") for n in found if "_" in n.strip("_"))


def _kernels_in(prefixes: set[str]) -> list[str]:
    """Return names of tasks that are those of functions, fused ones too."""
    parts = {re.sub(r"_\d+$", "", part) for prefix in prefixes for part in prefix.split("-")}
    wrapped = {part.removeprefix("vectorize_").strip("_") for part in parts}
    return sorted(p for p in parts | wrapped if p in _kernels() or p[:1] == "_" or p == "lambda")


def _check_equal(lazy: Any, eager: Any) -> None:
    if isinstance(eager, xr.DataArray | xr.Dataset):
        assert set(lazy.coords) == set(eager.coords)
        assert "haadf" not in lazy.coords or is_dask_collection(lazy.coords["haadf"].data)
        lazy, eager = (a.drop_vars("haadf", errors="ignore").compute() for a in (lazy, eager))
        xr.testing.assert_allclose(lazy, eager, rtol=1e-4, atol=1e-6)
    elif isinstance(eager, tuple | list):
        assert len(lazy) == len(eager)
        for pair in zip(lazy, eager, strict=True):
            _check_equal(*pair)
    elif isinstance(eager, pd.DataFrame):
        pd.testing.assert_frame_equal(lazy, eager)
    elif isinstance(eager, np.ndarray):
        np.testing.assert_allclose(lazy, eager, rtol=1e-4)
    else:
        assert lazy == eager


@pytest.mark.filterwarnings(
    "ignore::eds_xr.LeftOutWarning",
    "ignore::eds_xr.MissingLineWarning",
    "ignore::eds_xr.SubtractionWarning",
)
# the others are tried in any chunks and order
@pytest.mark.parametrize("name", slow_but(CASES, ["fitted_maps", "sum_spectra"], 12))
def test_every_function__beside_a_coordinate_in_other_chunks(name, inputs, tmp_path):
    seen: set[str] = set()
    on_numpy = {n: _with_haadf(data) for n, data in inputs.items()}
    eager = CASES[name](SimpleNamespace(**on_numpy, folder=tmp_path))
    on_dask = {n: _ridden(data, readable=name in READ_COORDINATES) for n, data in inputs.items()}
    with Callback(pretask=lambda key, *_: seen.add(key_split(key))):
        lazy = CASES[name](SimpleNamespace(**on_dask, folder=tmp_path))
    for one in lazy if isinstance(lazy, tuple | list) else [lazy]:
        seen |= {key_split(k) for k in one.__dask_graph__()} if is_dask_collection(one) else set()
    assert not (found := _kernels_in(seen)), f"on the dashboard of a cluster: {found}"
    _check_equal(lazy, eager)


def test_every_function__is_tried():
    bound = {n for n in vars(accessor.ArrayAccessor) if not n.startswith("_")}
    assert bound == {*OF_ARRAYS, "save"}
    assert {n for n in vars(accessor.DatasetAccessor) if not n.startswith("_")} == set(OF_DATASETS)
    public = {n for n in eds_xr.__all__ if inspect.isfunction(getattr(eds_xr, n))}
    assert public <= {*OF_ARRAYS, *OF_DATASETS, *OTHERS, *NOT_OF_IMAGES}
    assert set(masks.__all__) == set(MASKS)


def test_save__of_uneven_chunks_and_a_coordinate_in_others(inputs, tmp_path):
    values = np.random.default_rng(0).random(SHAPE)
    image = _ridden(inputs["image"]).assign_coords(
        haadf=(("y", "x"), da.from_array(values, chunks=OF_HAADF))
    )
    again = eds_xr.open(image.eds.save(tmp_path / "a.zarr"))
    assert is_dask_collection(again.haadf.data)
    np.testing.assert_array_equal(again.haadf, values)
    np.testing.assert_array_equal(again, inputs["image"])
