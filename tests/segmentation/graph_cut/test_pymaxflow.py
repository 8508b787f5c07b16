"""Tests of the choice of the solver: PyMaxflow or ours, the same labels."""

from typing import Any

import numpy as np
import pytest
from support.potts import noisy, picture

from eds_xr.segmentation.graph_cut import pymaxflow
from eds_xr.segmentation.graph_cut.potts import smooth

CASES: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((60, 47), 2, {}),
    ((60, 47), 2, {"neighbours": 4, "smoothness": 0.4}),
    ((40, 51), 4, {}),
    ((9, 20, 21), 2, {"neighbours": 6}),
    ((6, 16, 17), 3, {"neighbours": 26, "smoothness": 0.3}),
    ((70,), 3, {}),
]


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize(("shape", "n", "options"), CASES)
def test_solve__gives_the_labels_of_our_solver(
    shape: tuple[int, ...],
    n: int,
    options: dict[str, Any],
    edges: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("maxflow")
    p = noisy(shape, n)
    options |= {"edge_image": picture(p)} if edges else {}
    found = smooth(p, **options)
    monkeypatch.setattr(pymaxflow, "MOST_PIXELS", 0)
    ours = smooth(p, **options)
    np.testing.assert_array_equal(found, ours)
    assert found.attrs["energy"] == ours.attrs["energy"]


def test_solve__is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("maxflow")

    def seen(*_: object) -> None:
        raise AssertionError("solved by PyMaxflow")

    monkeypatch.setattr(pymaxflow, "solve", seen)
    with pytest.raises(AssertionError, match="by PyMaxflow"):
        smooth(noisy((10, 10)))


@pytest.mark.parametrize("n", [2, 3])
def test_solve__missing_pymaxflow_changes_nothing(n: int, request: pytest.FixtureRequest) -> None:
    p = noisy((50, 40), n)
    before = smooth(p)
    request.getfixturevalue("no_pymaxflow")
    after = smooth(p)
    np.testing.assert_array_equal(after, before)
    assert after.attrs["energy"] == before.attrs["energy"]


@pytest.mark.usefixtures("no_pymaxflow")
def test_solves__nothing_where_it_is_missing() -> None:
    assert not pymaxflow.solves(100)


def test_solves__small_images_only() -> None:
    pytest.importorskip("maxflow")
    assert pymaxflow.solves(512 * 512)
    assert not pymaxflow.solves(512 * 512 + 1)
