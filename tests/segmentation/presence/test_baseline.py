"""What mixing left of the matrix in other phases, told from what is really there."""

import numpy as np

from eds_xr.segmentation.presence.baseline import baseline_ratios

Y, X = np.mgrid[:64, :64]
FROM_MIDDLE = np.hypot(Y - 32, X - 32)


def test_baseline_ratios__a_constant_share_of_the_matrix():
    grains = np.hypot(Y % 32 - 16, X % 32 - 16) < 6
    matrix = np.where(grains, 100.0, 300.0)
    other = np.where(grains, 200.0, 0.0) + 0.1 * matrix
    found, ratios = baseline_ratios(np.stack([matrix, other], -1)[None])
    assert found == 0
    np.testing.assert_allclose(ratios, [0, 0.1], atol=0.01)


def test_baseline_ratios__a_shell_is_over_its_core():
    film = np.full(Y.shape, 10.0)
    core = np.where(FROM_MIDDLE < 12, 900.0, 0.0)
    shell = np.where(FROM_MIDDLE < 20, 100.0, 0.0)
    found, ratios = baseline_ratios(np.stack([core, shell, film], -1)[None])
    assert found == 0
    np.testing.assert_array_equal(ratios[1], 0)
