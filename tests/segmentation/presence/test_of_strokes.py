"""Tests of amounts of painted phases."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from eds_xr.schema import EdsError, label_array, phase_names
from eds_xr.segmentation.presence.amounts import Amounts, covariance
from eds_xr.segmentation.presence.of_strokes import (
    amounts_of_phases,
    canonical,
    phases_of_strokes,
)

SIZE = 30


def image_of(*compositions: list[float], dose: float = 400.0) -> xr.DataArray:
    """Return counts of components in bands of rows, one a composition."""
    rows = np.repeat(np.array(compositions), SIZE // len(compositions), axis=0)
    mean = dose * np.broadcast_to(rows[:, None], (len(rows), SIZE, rows.shape[1]))
    values = np.random.default_rng(0).poisson(mean).astype(np.float32)
    return xr.DataArray(values, dims=("y", "x", "component")).assign_coords(
        component=[f"c{i}" for i in range(rows.shape[1])]
    )


def strokes_in_bands(image: xr.DataArray, *names: str) -> xr.DataArray:
    """Return three strokes in each band."""
    values, high = np.zeros((image.sizes["y"], SIZE), np.uint8), SIZE // len(names)
    for i in range(len(names)):
        for x in (2, 12, 22):
            values[i * high + high // 2, x : x + 6] = i + 1
    return label_array(values, image.isel(component=0, drop=True), names)


def found(image: xr.DataArray, scribbles: xr.DataArray) -> Any:
    return phases_of_strokes(image, canonical(scribbles))


def test_phases_of_strokes__each_component_goes_where_it_rises() -> None:
    """Two components are one phase: a grain that varies."""
    image = image_of([0.97, 0.01, 0.01, 0.01], [0.5, 0.4, 0.1, 0], [0.6, 0.1, 0, 0.3])
    phases = found(image, strokes_in_bands(image, "m", "m+a", "b+m"))
    assert phases.names == ["m", "a", "b"]
    assert phases.components.T.tolist() == [
        [True, False, False, False], [False, True, True, False], [False, False, False, True]
    ]  # fmt: skip
    assert phases.are_components
    np.testing.assert_allclose(phases.composition.sum(1), 1)
    noise = np.zeros((4, 4, 4))
    noise[(np.arange(4),) * 3] = 1
    held = amounts_of_phases(Amounts(image, noise), phases)
    assert held.counts.component.values.tolist() == ["m", "a", "b"]
    np.testing.assert_allclose(held.counts.sum("component"), image.sum("component"), rtol=1e-5)
    np.testing.assert_allclose(
        held.counts.sel(component="a"), image.isel(component=[1, 2]).sum("component")
    )


def test_phases_of_strokes__a_component_of_an_interface_is_not_the_rare_phases() -> None:
    """The last component is where film and oxide meet; metal was painted on oxide only."""
    image = image_of(
        [0.96, 0.01, 0.01, 0.02], [0.08, 0.86, 0.02, 0.04], [0.05, 0.14, 0.66, 0.15],
        [0.16, 0.59, 0.06, 0.19], [0.96, 0.01, 0.01, 0.02],
    )  # fmt: skip
    strokes = strokes_in_bands(image, "film", "oxide", "oxide+metal", "film+oxide", "film")
    classes = ["film", "oxide", "oxide+metal", "film+oxide"]
    merged = label_array(strokes.where(strokes != 5, 1), strokes, classes)
    phases = found(image, merged)
    assert phases.components[3].tolist() == [False, True, False]


def test_phases_of_strokes__a_wrong_stroke_among_right_ones_does_no_harm() -> None:
    image = image_of([1.0, 0.0], [0.5, 0.5])
    scribbles = strokes_in_bands(image, "m", "m+a")
    scribbles[20, 3:9] = 1
    right, wrong = (found(image, s) for s in (strokes_in_bands(image, "m", "m+a"), scribbles))
    np.testing.assert_allclose(wrong.composition, right.composition, atol=1e-6)


def test_phases_of_strokes__mixtures_of_components_are_unmixed_without_bias() -> None:
    """Phases that share both components, painted alone: amounts and noise are those drawn."""
    image = image_of([0.7, 0.3], [0.3, 0.7])
    phases = found(image, strokes_in_bands(image, "a", "b"))
    assert not phases.are_components
    np.testing.assert_allclose(phases.composition, [[0.7, 0.3], [0.3, 0.7]], atol=0.02)
    phases = phases._replace(composition=np.array([[0.7, 0.3], [0.3, 0.7]]))
    noise = np.zeros((2, 2, 2))
    noise[(np.arange(2),) * 3] = 1
    held = amounts_of_phases(Amounts(image, noise), phases)
    for i, band in enumerate((slice(0, 15), slice(15, 30))):
        values = held.counts.isel(y=band).values.reshape(-1, 2)
        truth = 400.0 * np.eye(2)[i]
        error = values.std(0) / np.sqrt(len(values))
        assert (abs(values.mean(0) - truth) < 4 * error).all()
        expected = covariance(truth, held.noise)
        np.testing.assert_allclose(np.cov(values.T), expected, rtol=0.25)


@pytest.mark.parametrize(
    "compositions",
    [([0.5, 0.5], [0.5, 0.5]), ([0.52, 0.48], [0.48, 0.52]), ([1.0], [1.0])],
    ids=["same", "nearly", "one component"],
)
def test_phases_of_strokes__none_where_components_do_not_tell(compositions: Any) -> None:
    image = image_of(*compositions)
    assert found(image, strokes_in_bands(image, "left", "right")) is None


def test_phases_of_strokes__refuses_one_class() -> None:
    image = image_of([1.0, 0.0], [0.5, 0.5])
    only = strokes_in_bands(image, "m", "m+a").where(lambda s: s == 1, 0)
    with pytest.raises(EdsError, match="only m is painted"):
        found(image, only.assign_attrs(strokes_in_bands(image, "m", "m+a").attrs))


def test_canonical__names_combinations_in_one_order() -> None:
    image = image_of([1.0, 0.0], [0.5, 0.5])
    scribbles = strokes_in_bands(image, "a+b", "b", "b+c+a")
    assert phase_names(canonical(scribbles)) == ["a+b", "b", "a+b+c"]
    np.testing.assert_array_equal(canonical(scribbles), scribbles)
