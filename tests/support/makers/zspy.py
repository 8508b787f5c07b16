"""Write HyperSpy's Zarr files ``.zspy``: the layout of Zarr 2, a folder or a zip."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from zarr.storage import LocalStore, ZipStore

Signals = dict[str, tuple[np.ndarray, list[dict[str, Any]]]]


def write_zspy(
    path: Path,
    signals: Signals,
    *,
    as_zip: bool = False,
    signal_type: str = "EDS_TEM",
    chunks: tuple[int, ...] | None = None,
) -> Path:
    """Write signals ``{"EDX": (values, axes)}``, as HyperSpy 2 does."""
    store = ZipStore(path, mode="w") if as_zip else LocalStore(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a zip holds attributes that were written twice twice
        attrs = {"file_format": "ZSpy", "file_format_version": "3.3"}
        root = zarr.create_group(store, zarr_format=2, attributes=attrs)
        experiments = root.create_group("Experiments")
        for name, (values, axes) in signals.items():
            _write_signal(experiments.create_group(name), name, values, axes, signal_type, chunks)
    store.close()
    return path


def _write_signal(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    axes: list[dict[str, Any]],
    signal_type: str,
    chunks: tuple[int, ...] | None,
) -> None:
    _array(group, "data", values, chunks or values.shape)
    for i, axis in enumerate(axes):
        size = {"size": values.shape[i], "index_in_array": i, "_type": "UniformDataAxis"}
        group.create_group(f"axis-{i}", attributes={**axis, **size})
    metadata = group.create_group("metadata")
    metadata.create_group("General", attributes={"title": name, "notes": "_None_"})
    metadata.create_group("Signal", attributes={"signal_type": signal_type})
    detector = {"live_time": 12.5, "elevation_angle": 22}
    tem = metadata.create_group("Acquisition_instrument/TEM", attributes={"beam_energy": 200.0})
    tem.create_group("Detector/EDS", attributes=detector)
    sample = metadata.create_group("Sample", attributes={"_list_empty_xray_lines": "[]"})
    _texts(sample, "_list_elements", ["Mg", "Fe"])
    vendor = group.create_group("original_metadata/Vendor", attributes={"version": 1.5})
    _array(vendor, "shift", np.arange(3), (3,))


def _array(group: zarr.Group, name: str, values: np.ndarray, chunks: tuple[int, ...]) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        compressors=Blosc(cname="zstd", clevel=1, shuffle=Blosc.SHUFFLE),
        chunk_key_encoding={"name": "v2", "separator": "/"},
        fill_value=0,
    )
    array[...] = values


def _texts(group: zarr.Group, name: str, texts: list[str]) -> None:
    array = group.create_array(
        name, shape=(len(texts),), dtype=str, chunks=(len(texts),), compressors=Blosc()
    )
    array[:] = np.array(texts, dtype=object)
