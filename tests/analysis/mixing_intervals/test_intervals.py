import dask
import numpy as np
import pytest
import xarray as xr
from support.independent.grains import scatter
from support.independent.images import image
from support.independent.materials import Material

import eds_xr
from eds_xr.analysis.mixing_intervals.intervals import mixing_intervals
from eds_xr.schema import EdsError

DIOPSIDE = Material("diopside", "oxide", {"Ca": 1, "Mg": 1, "Si": 2, "O": 6}, 3.3)
PERICLASE = Material("ferropericlase", "oxide", {"Mg": 0.8, "Fe": 0.2, "O": 1}, 4.0)
ALBITE = Material("albite", "oxide", {"Na": 1, "Al": 1, "Si": 3, "O": 8}, 2.6)
ELEMENTS = ["Mg", "Si", "Ca", "Fe", "Na", "Al"]
RATIOS = [("Mg", "Si"), ("Ca_Ka", "Si_Ka"), ("Fe", "Mg")]


@pytest.fixture(scope="module")
def grains() -> tuple[xr.DataArray, xr.Dataset, xr.Dataset]:
    """An image, its truth, and a factorisation in the order of the phases."""
    found, truth = image(
        DIOPSIDE, scatter([PERICLASE, ALBITE], 12, seed=3, radii=(0.08, 0.16)), (40, 40), 200.0,
        seed=1,
    )  # fmt: skip
    found = found.sel(energy=slice(0.5, 9.9))
    result = eds_xr.nmf(found, 3).compute()
    both = truth.spectra.sel(energy=found.energy).values, result.loadings.values
    unit = [a / np.linalg.norm(a, axis=1)[:, None] for a in both]
    order = (unit[0] @ unit[1].T).argmax(1)
    return found, truth, result.isel(component=order).assign_coords(component=[0, 1, 2])


@pytest.fixture(scope="module")
def spans(grains) -> xr.Dataset:
    return mixing_intervals(grains[0], grains[2], RATIOS, ELEMENTS, stray=["Cu"])


@pytest.mark.slow
def test_mixing_intervals__hold_the_truth(grains, spans):
    net = grains[1].net
    for phase, pair in ((0, 0), (0, 1), (1, 2)):
        first, second = (f"{name.split('_')[0]}_Ka" for name in RATIOS[pair])
        true = float(net[phase].sel(line=first) / net[phase].sel(line=second))
        low, high = float(spans.low[phase, pair]), float(spans.high[phase, pair])
        assert low <= true <= high
        assert high - low < 0.3 * true
    assert float(spans.high[1, 0]) == np.inf  # no silicon in ferropericlase
    assert float(spans.low[1, 0]) > 2
    assert float(spans.low[1, 1]) == 0
    assert float(spans.high[1, 1]) == np.inf


def test_mixing_intervals__values_lie_within_and_say_what_bounds_them(spans):
    assert spans.ratio.values.tolist() == ["Mg/Si", "Ca_Ka/Si_Ka", "Fe/Mg"]
    assert ((spans.low <= spans.value) & (spans.value <= spans.high)).all()
    known = spans.isel(component=0, ratio=0)
    for text in (known.low_by.item(), known.high_by.item()):
        assert text.startswith("pixels without component") or " left in component" in text
    assert spans.high_by[0, 2].item() == "pixels without component 1"  # whose iron it would be


def test_mixing_intervals__eager_equals_lazy(grains, spans):
    found, _, result = grains
    lazy = mixing_intervals(found.chunk(y=13, x=20), result.chunk(), RATIOS, ELEMENTS, stray=["Cu"])
    xr.testing.assert_allclose(lazy, spans)


def test_mixing_intervals__reads_the_image_once(grains):
    found, _, result = grains
    seen: list[int] = []
    watched = xr.apply_ufunc(
        lambda block: (seen.append(1), block)[1], found.chunk(y=20, x=20), dask="parallelized",
        output_dtypes=[found.dtype], keep_attrs=True,
    )  # fmt: skip
    seen.clear()
    with dask.config.set(scheduler="synchronous"):
        mixing_intervals(watched, result, RATIOS[:1], ELEMENTS, stray=["Cu"])
    assert len(seen) == 4


def test_mixing_intervals__absent_elements_narrow(grains, spans):
    found, _, result = grains
    known = mixing_intervals(
        found, result, RATIOS[:1], ELEMENTS, stray=["Cu"], absent={2: ["Mg", "Ca", "Fe"]}
    )
    assert float(known.high[2, 0]) < 0.8 * float(spans.high[2, 0])
    assert float(known.low[0, 0]) <= float(spans.value[0, 0]) <= float(known.high[0, 0])


def test_mixing_intervals__k_factors_make_them_ratios_of_atoms(grains, spans):
    found, _, result = grains
    factors = {"Mg_Ka": 1.5, "Si_Ka": 1.0, "Fe_Ka": 1.2}
    atoms = mixing_intervals(
        found, result, [("Mg", "Si")], ELEMENTS, stray=["Cu"], k_factors=factors
    )
    scale = 1.5 / 24.305 * 28.085
    for name in ("low", "value", "high", "error"):
        np.testing.assert_allclose(atoms[name][0, 0], scale * spans[name][0, 0], rtol=1e-3)


def test_mixing_intervals__of_named_spectra_has_their_names(grains):
    found, _, result = grains
    names = ["matrix", "grains", "others"]
    spectra = result.loadings.rename(component="phase").assign_coords(phase=names)
    spans = mixing_intervals(found, spectra * 1e5, RATIOS[:1], ELEMENTS, stray=["Cu"])
    assert spans.phase.values.tolist() == names
    texts = [*spans.low_by.values.ravel(), *spans.high_by.values.ravel()]
    assert any(text.endswith(tuple(names)) for text in texts)
    assert not any("component" in text for text in texts)


@pytest.mark.parametrize(
    ("ratios", "more", "message"),
    [
        ([], {}, "expected pairs of two lines"),
        (["MgSi"], {}, "expected pairs of two lines"),
        ([("Mg", "Mg")], {}, "expected pairs of two lines"),
        ([("Mg", "Ti")], {}, "Ti has no line to take the net counts of"),
        ([("Mg", "Si")], {"elements": []}, "no elements to fit"),
        ([("Mg", "Si")], {"absent": {7: ["Mg"]}}, "no component 7"),
        ([("Mg", "Si")], {"absent": {0: ["Ti"]}}, "Ti is not among the elements"),
        ([("Mg", "Si")], {"range_kev": (1.2, 1.3)}, "widen range_kev"),
    ],
)
def test_mixing_intervals__refuses(grains, ratios, more, message):
    found, _, result = grains
    with pytest.raises(EdsError, match=message):
        mixing_intervals(found, result, ratios, **{"elements": ELEMENTS, **more})


def test_mixing_intervals__refuses_other_spectra(grains):
    found, _, result = grains
    with pytest.raises(EdsError, match="one"):
        mixing_intervals(found, result.isel(component=[0]), RATIOS, ELEMENTS)
    with pytest.raises(EdsError, match="energy"):
        mixing_intervals(found.isel(energy=slice(0, 300)), result, RATIOS, ELEMENTS)
