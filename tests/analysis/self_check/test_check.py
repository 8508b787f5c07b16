"""An analysis is held against simulations of its own image."""

import numpy as np
import pytest
import xarray as xr
from support.independent.scenes import scene

import eds_xr
from eds_xr import EdsError, Recipe
from eds_xr.analysis.recipe import ElementChoice, FitChoice
from eds_xr.analysis.self_check import check as module
from eds_xr.analysis.self_check.bootstrap import image_model
from eds_xr.analysis.self_check.coverage import WAYS, Drawn

SHAPE = (40, 40)


@pytest.fixture(scope="module")
def image() -> xr.DataArray:
    return scene("precipitates", 400.0, seed=2, shape=SHAPE)[0]


@pytest.fixture(scope="module")
def tree(image: xr.DataArray) -> xr.DataTree:
    named = ElementChoice(("Mg", "Al", "Si", "Mn", "Fe"), ("Cu", "C"))
    return eds_xr.analyse(image, Recipe(elements=named, fit=FitChoice(other_ranges_kev=())))


@pytest.mark.slow
def test_analyse__tests_its_image(tree: xr.DataTree) -> None:
    found = tree["check"].to_dataset()
    assert {"gain along y", "pile-up", "thickness"} <= set(found.test.values)
    flagged = found.text.values[found.flagged.values]
    assert {f"check: {t}" for t in flagged} <= set(tree.attrs["warnings"])


def test_image_model__holds_the_counts_of_the_image(tree: xr.DataTree, image: xr.DataArray) -> None:
    model = image_model(tree)
    assert model.binned == 1
    drawn, again = model.draw((0, 1)), model.draw((0, 1))
    xr.testing.assert_identical(drawn, again)
    assert not drawn.identical(model.draw((0, 2)))
    assert drawn.dtype.kind == "u"
    assert drawn.shape == image.shape
    assert float(drawn.sum()) == pytest.approx(float(image.sum()), rel=0.05)
    both = (v.sum(("y", "x")).values[90:1000] for v in (drawn, image))
    one, other = (v.reshape(-1, 10).sum(1).astype(float) for v in both)
    assert abs(one - other).sum() < 0.15 * other.sum()
    assert (model.lines.net >= 0).all()


def test_image_model__takes_pixels_together(tree: xr.DataTree) -> None:
    whole, binned = image_model(tree), image_model(tree, binned=2)
    assert binned.amounts.sizes["y"] == SHAPE[0] // 2
    assert float(binned.amounts.sum()) == pytest.approx(float(whole.amounts.sum()), rel=0.1)
    assert binned.draw((0,)).sizes["x"] == SHAPE[1] // 2


@pytest.fixture(scope="module")
def checked(tree: xr.DataTree) -> xr.DataTree:
    """The tree with its coverage, of draws in this process."""
    return tree.eds.check(draws=5, seed=3, binned=2)


@pytest.mark.slow
def test_check__tells_what_intervals_hold(tree: xr.DataTree, checked: xr.DataTree) -> None:
    found = checked["coverage"].to_dataset()
    assert found.attrs["draws"] == 5
    matrix = found.sel(way="composition", phase=tree.attrs["matrix"])
    assert (matrix.draws == 5).all()
    assert float(matrix.covered.mean()) > 0.6
    assert (checked["composition"].atomic_fraction == tree["composition"].atomic_fraction).all()
    before, after = (t["composition"].atomic_fraction_variance for t in (tree, checked))
    assert (after >= before).all()
    with pytest.raises(EdsError, match="checked already"):
        checked.eds.check()


@pytest.mark.slow
def test_check__repeats_on_a_cluster(
    tree: xr.DataTree, checked: xr.DataTree, client: object
) -> None:
    """The draws end in any order there, in other processes."""
    assert client is not None
    there = tree.eds.check(draws=5, seed=3, binned=2)["coverage"].to_dataset()
    xr.testing.assert_allclose(there, checked["coverage"].to_dataset())


def test_check__an_interruption_keeps_what_is_done(
    tree: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = tree["composition"].to_dataset()
    like = xr.full_like(truth.atomic_fraction, 0.1)
    both = xr.concat([like, like], xr.DataArray(list(WAYS), dims="way", name="way"))

    def draws(number: int) -> None:
        left = iter(range(number))

        def one(*_: object) -> Drawn:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return Drawn(both, both)

        monkeypatch.setattr(module, "_one_draw", one)

    draws(6)
    with pytest.warns(UserWarning, match="after 6 of 20"):
        assert module.check(tree)["coverage"].attrs["draws"] == 6
    draws(3)
    with pytest.raises(KeyboardInterrupt):
        module.check(tree)


def test_check__bad_input(tree: xr.DataTree) -> None:
    with pytest.raises(EdsError, match="5 or more"):
        tree.eds.check(draws=2)
    with pytest.raises(EdsError, match="binned must be"):
        tree.eds.check(binned=0)
    with pytest.raises(EdsError, match="seed must be"):
        tree.eds.check(seed=-1)
    bare = xr.DataTree.from_dict({n: tree[n].to_dataset() for n in ("factors", "segmentation")})
    with pytest.raises(EdsError, match="with compositions"):
        bare.eds.check()
    assert np.isfinite(tree["check"].size_sd).any()
