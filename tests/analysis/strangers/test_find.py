"""Strangers are found and named where they were planted, and nowhere else."""

from collections import Counter

import dask
import numpy as np
import pytest
import xarray as xr
from support.counted_reads import CountedReads
from support.independent.images import MICROSCOPE
from support.independent.inclusions import Inclusion, field
from support.independent.materials import Material

import eds_xr
from eds_xr import EdsError
from eds_xr.analysis.strangers import windows

SHAPE = (120, 112)
TITANIA = Material("rutile", "oxide", {"Ti": 1, "O": 2}, 4.2)
HELD = ["C", "O", "Mg", "Al", "Si", "Fe", "Cu"]


@pytest.fixture(scope="module")
def planted() -> tuple[xr.DataArray, list[Inclusion], xr.Dataset]:
    """An image, its eight inclusions, and three NMF components."""
    image, inclusions = field(SHAPE, seed=11, inclusions=8, microscope=MICROSCOPE)
    return image, inclusions, eds_xr.nmf(image, 3).compute()


@pytest.fixture(scope="module")
def found(planted) -> xr.Dataset:
    image, _, factors = planted
    return eds_xr.find_strangers(image, factors, elements=HELD).compute()


def places(found: xr.Dataset) -> np.ndarray:
    """Return the middles [stranger, (y, x); pixels]."""
    return np.column_stack([found.middle_y, found.middle_x]) / 2.0


def matched(found: xr.Dataset, inclusions: list[Inclusion]) -> list[Inclusion | None]:
    """Return the inclusion that each stranger lies at, if any."""
    result = []
    for place in places(found):
        far = [np.hypot(*(one.middle - place)) for one in inclusions]
        near = int(np.argmin(far)) if far else -1
        result.append(inclusions[near] if far and far[near] < 4 else None)
    return result


@pytest.mark.slow
def test_find_strangers__finds_small_inclusions_and_nothing_else(planted, found):
    at = matched(found, planted[1])
    assert None not in at
    assert len({id(one) for one in at}) == len(at) == 8


def test_find_strangers__names_the_element(planted, found):
    for one, text in zip(matched(found, planted[1]), found.elements.values, strict=True):
        assert one.element in text.split(", ")[0].split(" or "), text
    assert all(
        name in text for name, text in zip(found.host.values, found.text.values, strict=True)
    )


def test_find_strangers__counts_what_is_in_excess(planted, found):
    """Sixty counts each, of which some lie beside the windows."""
    own = []
    for i, one in enumerate(matched(found, planted[1])):
        of = [str(n).split("_")[0] == one.element for n in found.line.values]
        own.append((float(found.excess[i, of].sum()), float(found.excess_variance[i, of].sum())))
    counts, variance = np.array(own).T
    assert abs(counts.mean() - 60) < 10 + 2 * np.sqrt(variance.sum()) / len(own)
    assert (found.q_value.values <= 0.05).all()
    assert (np.diff(found.significance.values) <= 1e-9).all()


def test_find_strangers__says_where_and_how_large(planted, found):
    for i, one in enumerate(matched(found, planted[1])):
        inside = found.region.values == i + 1
        assert inside.sum() == int(found.n_pixels[i])
        assert inside[tuple(one.pixels.T)].sum() >= 3
        assert 2 <= float(found.extent_y[i]) <= 24
        assert float(found["size"][i]) == pytest.approx(2 * np.sqrt(4 / np.pi * inside.sum()))
    assert set(np.unique(found.region)) == set(range(found.sizes["stranger"] + 1))


def test_find_strangers__residuals_are_in_standard_deviations(found):
    outside = found.residual.where(found.region == 0)
    assert float(abs(outside.mean(("y", "x"))).max()) < 0.1
    np.testing.assert_allclose(outside.std(("y", "x")), 1, atol=0.15)
    best = found.residual.max(("y", "x")).to_series()
    assert (best[[n for n in best.index if n in ("Ti_Ka", "Ca_Ka", "P_Ka")]] > 6).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_find_strangers__of_phases_that_vary__are_none(seed):
    image, _ = field(SHAPE, seed=seed, composition=0.08, thickness=0.3, microscope=MICROSCOPE)
    found = eds_xr.find_strangers(image, eds_xr.nmf(image, 3), elements=HELD)
    assert found.sizes["stranger"] == 0, found.text.values
    assert set(found.residual.line.values) >= {"O_Ka", "Mg_Ka", "Si_Ka"}
    assert not found.region.any()


def test_find_strangers__tells_what_is_missing(planted):
    """Every other Mg count is taken out of a disc: then there is less Mg than any mixture has."""
    image, _, factors = planted
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    disc = (y - 60) ** 2 + (x - 50) ** 2 < 30
    values = image.values.copy()
    inside, mg = values[disc], np.abs(image.energy.values - 1.265) < 0.09
    inside[:, mg] = np.random.default_rng(0).binomial(inside[:, mg], 0.5)
    values[disc] = inside
    found = eds_xr.find_strangers(image.copy(data=values), factors, elements=HELD)
    far = np.hypot(*(places(found) - (60, 50)).T)
    assert far.min() < 4
    assert "less Mg" in found.elements.values[far.argmin()]


@pytest.mark.parametrize("chunks", [{"y": 17, "x": 40}, {"y": (50, 70), "x": (101, 11)}])
def test_find_strangers__does_not_depend_on_chunks(planted, found, chunks):
    image, _, factors = planted
    other = eds_xr.find_strangers(image.chunk(chunks), factors, elements=HELD)
    xr.testing.assert_identical(other.compute(), found)


def test_find_strangers__in_several_tiles__are_nearly_those_in_one(planted, found, monkeypatch):
    image, inclusions, factors = planted
    monkeypatch.setattr(windows, "TILE", 60)
    other = eds_xr.find_strangers(image, factors, elements=HELD)
    assert Counter(map(id, matched(other, inclusions))) == Counter(
        map(id, matched(found, inclusions))
    )
    assert other.region.chunks[0] == (60, 60)


def test_find_strangers__reads_the_image_twice(planted):
    image, _, factors = planted
    store = CountedReads(image.isel(y=slice(0, 96), x=slice(0, 96)), side=24)
    with dask.config.set(scheduler="threads", num_workers=2):
        eds_xr.find_strangers(store.image, factors, elements=HELD)
    assert set(store.reads.values()) == {2}


@pytest.mark.slow
def test_find_strangers__takes_spectra_and_trees(planted, found):
    image, _, factors = planted
    spectra = factors.loadings.rename(component="phase")
    xr.testing.assert_allclose(
        eds_xr.find_strangers(image, spectra, elements=HELD).excess, found.excess
    )
    tree = xr.DataTree.from_dict({"factors": factors})
    told = image.eds.find_strangers(tree)  # identifies the elements by itself
    assert set(map(id, matched(told, planted[1]))) == set(map(id, planted[1]))


def test_find_strangers__in_a_line_scan():
    image, _ = field((24, 400), seed=5, dose=20.0, microscope=MICROSCOPE)
    scan = image.isel(y=slice(0, 24)).sum("y", keep_attrs=True).astype(np.uint16)
    titanium, _ = field((1, 5), seed=1, phases=[TITANIA], dose=60.0, thickness=0.0)
    values = scan.values
    values[200:205] += titanium.values[0, :, : scan.sizes["energy"]]
    found = eds_xr.find_strangers(scan.copy(data=values), eds_xr.nmf(scan, 3), elements=HELD)
    best = found.isel(stranger=0)
    assert abs(float(best.middle_x) / 2 - 202) < 2
    assert "Ti" in best.elements.item()
    assert "middle_y" not in found
    assert found.region.dims == ("x",)
    assert found.residual.dims == ("line", "x")


@pytest.mark.parametrize(
    ("change", "result", "fdr", "said"),
    [
        (lambda image: image, lambda f: f, 0.0, "fdr must be between 0 and 1"),
        (lambda image: image, lambda f: f.scores, 0.05, "expected the result of analyse or nmf"),
        (lambda image: image, lambda f: f.drop_vars("loadings"), 0.05, "expected the result"),
        (lambda image: image.isel(energy=slice(100, 900)), lambda f: f, 0.05, "energy axes"),
        (lambda image: image.expand_dims("tilt"), lambda f: f, 0.05, "expected an image"),
    ],
)
def test_find_strangers__bad_input(planted, change, result, fdr, said):
    image, _, factors = planted
    with pytest.raises(EdsError, match=said):
        eds_xr.find_strangers(change(image), result(factors), fdr=fdr, elements=HELD)
