"""A factorisation that was interrupted goes on; files of others are refused and never replaced."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from eds_xr import nmf
from eds_xr.factorisation.checkpoint import Checkpoint
from eds_xr.factorisation.solver import descent
from eds_xr.factorisation.solver.descent import DescentResult
from eds_xr.schema import EdsError

OPTIONS: dict[str, Any] = {"mixing": "free", "tol": 1e-9, "max_iter": 5}
RESULT = DescentResult(np.full((4, 2), 0.25, np.float32), np.array([3.0, 1.0]), 7.5, 3, False)


@pytest.fixture
def interrupted(
    eager_image: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[xr.DataArray, Path]:
    """An image, and the checkpoint of a fit of it that Ctrl-C ended in its third step."""
    original, pixels, steps = descent._sweep, eager_image.sizes["y"] * eager_image.sizes["x"], []

    def sweep(rows: Any, *args: Any) -> Any:
        if rows.pixels == pixels and len(rows.shape) == 2:  # of the image, not of large bins
            steps.append(1)
            if len(steps) == 3:
                raise KeyboardInterrupt
        return original(rows, *args)

    with monkeypatch.context() as patch:
        patch.setattr(descent, "_sweep", sweep)
        found = nmf(eager_image, 2, **OPTIONS, checkpoint=tmp_path / "nmf.npz")
    assert found.attrs["interrupted"] == 1
    return eager_image, tmp_path / "nmf.npz"


def test_nmf__goes_on_after_ctrl_c(interrupted: tuple[xr.DataArray, Path]) -> None:
    image, file = interrupted
    found = nmf(image, 2, **OPTIONS, checkpoint=file)
    assert found.attrs["iterations"] == 5
    assert not file.exists()
    np.testing.assert_allclose(found.loadings, nmf(image, 2, **OPTIONS).loadings, atol=1e-2)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"sparsity": 1.0}, {"loss": "frobenius"}, {"init": "random"}]
)
def test_nmf__refuses_the_checkpoint_of_another_fit(
    interrupted: tuple[xr.DataArray, Path], change: dict[str, Any]
) -> None:
    image, file = interrupted
    before = file.read_bytes()
    with pytest.raises(EdsError, match="checkpoint of another image or of other options"):
        nmf(image, 2, **OPTIONS | change, checkpoint=file)
    with pytest.raises(EdsError, match="checkpoint of another image or of other options"):
        nmf(image[1:], 2, **OPTIONS, checkpoint=file)
    assert file.read_bytes() == before


def test_checkpoint__reads_what_was_written(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "a.npz", "options")
    assert checkpoint.read() is None
    checkpoint.write(RESULT)
    for found, expected in zip(checkpoint.read() or (), RESULT, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("content", [b"", b"years of work", b"PK\x03\x04 and no more"])
def test_checkpoint__refuses_another_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(EdsError, match=r"a.npz is no checkpoint of eds_xr.nmf .*remove it"):
        Checkpoint(tmp_path / "a.npz", "options").read()
    assert (tmp_path / "a.npz").read_bytes() == content


def test_checkpoint__that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="could not be written, the fit goes on without"):
        Checkpoint(tmp_path / "file" / "a.npz", "options").write(RESULT)
