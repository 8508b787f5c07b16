"""Components that are phases: read once, with the evidence that suggest_rank gathers itself."""

import numpy as np
import pytest
import xarray as xr
from support.recordings import convert_counts

from eds_xr import simulate, store
from eds_xr.analysis import phase_components as module
from eds_xr.analysis.phase_components import phase_components
from eds_xr.factorisation.component_kinds.kinds import component_kinds, merge_kinds
from eds_xr.factorisation.nmf import nmf
from eds_xr.factorisation.rank import evidence_of, suggest_rank, suggestion


def counts_of(dose):
    return simulate.spectrum_image((96, 88, 512), dose, seed=4).drop_vars("haadf").compute()


@pytest.mark.slow
@pytest.mark.parametrize("pyramid", [False, True])
def test_phase_components__evidence_is_that_of_suggest_rank(pyramid, tmp_path, monkeypatch) -> None:
    """At few counts NMF is content with larger sums, at many it is not."""
    shared = []
    for dose in (15.0, 300.0):
        values = counts_of(dose).values
        path = tmp_path / f"{dose:g}.zarr"
        image = store.open(convert_counts(values, path, monkeypatch, pyramid=pyramid))
        found = phase_components(image, "auto", seed=0)
        if found.evidence is not None:
            again = evidence_of(image)
            assert all(np.array_equal(a, b) for a, b in zip(found.evidence, again, strict=True))
            one = suggestion(found.evidence, found.kinds)
            xr.testing.assert_identical(one, suggest_rank(image, kinds=found.kinds))
        shared.append(found.evidence is not None)
    assert all(shared) if not pyramid else not all(shared)


def test_phase_components__is_nmf_and_then_fewer(monkeypatch) -> None:
    image = counts_of(100.0)
    monkeypatch.setattr(module, "component_kinds", told := Told(component_kinds))
    found = phase_components(image, "auto", seed=1)
    assert told.ranks[0] == suggest_rank(image, kinds=found.kinds).attrs["possible"]
    again = nmf(image, told.ranks[-1], seed=1)
    xr.testing.assert_identical(found.factors, merge_kinds(again, component_kinds(again)))


def test_phase_components__reads_once_whatever_is_folded(monkeypatch) -> None:
    """Also where a component is no phase, and the image is factorised into fewer."""
    read, image = [], counts_of(100.0)
    prepare = module.prepare
    monkeypatch.setattr(module, "prepare", lambda *a: read.append(1) or prepare(*a))
    ranks = []

    def kinds(factors):
        ranks.append(factors.sizes["component"])
        found = component_kinds(factors)
        if len(ranks) == 1:
            noise = found.kind.values.astype(object)
            noise[-1] = module.NOISE
            return found.assign(kind=("component", noise.astype(str)))
        return found

    monkeypatch.setattr(module, "component_kinds", kinds)
    found = phase_components(image, "auto", seed=1)
    assert ranks[1] == ranks[0] - 1
    assert read == [1]
    expected = nmf(image, ranks[-1], seed=1)
    xr.testing.assert_identical(found.factors, merge_kinds(expected, component_kinds(expected)))


def test_phase_components__a_number_that_is_given_is_kept() -> None:
    found = phase_components(counts_of(100.0), 2, seed=0)
    assert found.factors.sizes["component"] == 2
    assert found.kinds is None
    assert found.evidence is None


class Told:
    """A function of factors that notes into how many components they are."""

    def __init__(self, function) -> None:
        self.function, self.ranks = function, []

    def __call__(self, factors):
        self.ranks.append(factors.sizes["component"])
        return self.function(factors)
