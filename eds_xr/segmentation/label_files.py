"""Label images in files: TIFF and PNG with the colours of the phases, Zarr.

A TIFF or PNG carries the names of the phases as JSON, ``{"phases": [...], "colors": [...]}``, in
its description.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.atomic_write import written_file, written_whole
from eds_xr.schema import EdsError, phase_colors, phase_names

#: Of a PNG's text entries, the one with the names of the phases.
PNG_KEY = "eds_xr"
TIFF_ENDINGS, PNG_ENDINGS, ZARR_ENDINGS = (".tif", ".tiff"), (".png",), (".zarr",)

Labels = tuple[Any, list[str], list[str]]  # values [y, x], names and colours of the phases


def read_labels(path: str | os.PathLike[str], shape: tuple[int, ...]) -> Labels:
    """Return the values of a label image, refused before it is decoded when of another shape."""
    source = Path(path)
    read = _by_ending(source, _read_tiff, _read_png, _read_zarr)
    with _named(source):
        return read(source, shape)


def write_labels(label: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write a label image [y, x; uint8] as what the ending says, whole or not at all."""
    target = Path(path)
    write = _by_ending(target, _write_tiff, _write_png, _write_zarr)
    if write is _write_zarr:
        with written_whole(target, overwrite=overwrite, holds="label") as folder:
            _write_zarr(label, folder)
    else:
        with written_file(target, overwrite=overwrite) as partial:
            write(label, partial)
    return target


def _by_ending(path: Path, *ways: Callable[..., Any]) -> Callable[..., Any]:
    endings = (TIFF_ENDINGS, PNG_ENDINGS, ZARR_ENDINGS)
    for way, known in zip(ways, endings, strict=True):
        if path.suffix.lower() in known:
            return way
    raise EdsError(
        f"{path.name} ends in none of {', '.join(e for known in endings for e in known)}; label "
        "images are TIFF, PNG or Zarr, regions of ImageJ .roi or .zip"
    )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes of a decoder into an error that names the file."""
    if not path.exists():
        raise EdsError(f"no such label image: {path}")
    try:
        yield
    except EdsError:
        raise
    except Exception as error:
        raise EdsError(f"{path} cannot be read as a label image: {error}") from error


def _check_form(found: tuple[int, ...], expected: tuple[int, ...], kind: str) -> None:
    if found != expected:
        raise EdsError(
            f"the label image is {' x '.join(map(str, found))} ({kind}), expected one value for "
            f"each of {' x '.join(map(str, expected))} pixels: export labels, not a picture of "
            "them, and on the grid of the image"
        )


def _read_tiff(path: Path, shape: tuple[int, ...]) -> Labels:
    import tifffile

    with tifffile.TiffFile(path) as file:
        _check_form(file.series[0].shape, shape, "TIFF")
        description = file.pages.first.tags.valueof("ImageDescription")
        return file.series[0].asarray(), *_names_in(description)


def _write_tiff(label: xr.DataArray, path: Path) -> None:
    import tifffile

    tifffile.imwrite(
        path,
        label.values,
        photometric="palette",
        colormap=_palette(label).T.astype(np.uint16) * 257,
        description=_names_of(label),
        compression="zlib",
        metadata=None,
    )


def _read_png(path: Path, shape: tuple[int, ...]) -> Labels:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as image:
        form = (image.height, image.width, *(() if len(image.getbands()) == 1 else ("colours",)))
        _check_form(form, shape, f"PNG, mode {image.mode}")
        return np.asarray(image), *_names_in(image.info.get(PNG_KEY))


def _write_png(label: xr.DataArray, path: Path) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    image, info = Image.fromarray(label.values), PngInfo()
    image.putpalette(_palette(label).tobytes())
    info.add_text(PNG_KEY, _names_of(label))
    image.save(path, format="PNG", pnginfo=info)


def _read_zarr(path: Path, shape: tuple[int, ...]) -> Labels:
    from eds_xr.readers.guards.zarr import guarded

    with warnings.catch_warnings():  # other software's stores may not be consolidated
        warnings.filterwarnings("ignore", message="Failed to open Zarr store with cons")
        dataset = xr.open_dataset(guarded(path), engine="zarr", chunks={})
    names = [str(name) for name in dataset.data_vars]
    if "label" not in names and len(names) != 1:
        raise EdsError(f"{path} holds {names or 'nothing'}, expected a variable 'label'")
    label = dataset["label" if "label" in names else names[0]]
    _check_form(label.shape, shape, "Zarr")
    named = "flag_meanings" in label.attrs
    return label.data, phase_names(label) if named else [], phase_colors(label) if named else []


def _write_zarr(label: xr.DataArray, folder: Path) -> None:
    # computed: Zarr knows no uneven chunks
    label.compute().to_dataset(name="label").to_zarr(
        folder, mode="w", consolidated=False, zarr_format=3
    )


def _names_of(label: xr.DataArray) -> str:
    return json.dumps({"phases": phase_names(label), "colors": phase_colors(label)})


def _names_in(text: Any) -> tuple[list[str], list[str]]:
    """Return the names and colours that a description holds; none when it is another's."""
    try:
        found = json.loads(text)
        return [str(name) for name in found["phases"]], [str(c) for c in found["colors"]]
    except (TypeError, ValueError, KeyError, RecursionError):
        return [], []


def _palette(label: xr.DataArray) -> np.ndarray:
    """Return the colours of all 256 values, black where there is no phase [value, rgb; uint8]."""
    colors = np.zeros((256, 3), np.uint8)
    for i, color in enumerate(phase_colors(label)[:255], 1):
        colors[i] = list(bytes.fromhex(color.lstrip("#")))
    return colors
