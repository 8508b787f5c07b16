import numpy as np
import pytest

from eds_xr.app.pictures.greys import as_greys, limits


def test_limits__shares_of_the_pixels() -> None:
    assert limits(np.arange(101.0), 10, 90) == (10.0, 90.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([np.nan], (0, 1)), ([3.0, 3.0], (3, 4)), ([0.0] * 999 + [5.0], (0, 5)), ([], (0, 1))],
)
def test_limits__where_there_is_no_range(values: list[float], expected: tuple[int, int]) -> None:
    assert limits(np.array(values)) == expected


def test_as_greys__from_black_to_white() -> None:
    greys = as_greys(np.array([[-1.0, 0.0, 5.0, 10.0, 11.0, np.nan]]), 0, 10)
    assert greys.dtype == np.uint8
    assert greys.tolist() == [[0, 0, 128, 255, 255, 0]]


def test_as_greys__logarithm_lifts_what_is_weak() -> None:
    weak = np.array([0.0, 0.01, 1.0])
    plain, lifted = as_greys(weak, 0, 1), as_greys(weak, 0, 1, log=True)
    assert plain.tolist() == [0, 3, 255]
    assert lifted[1] > 80
    assert lifted[[0, 2]].tolist() == [0, 255]
