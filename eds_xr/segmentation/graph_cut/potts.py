"""Graph cut: the labels that are most probable given that neighbours tend to agree.

label = smooth(probability, smoothness=1.0)
label = smooth(probability, edge_image=image.haadf)  # borders rather where the image has edges
label = smooth(probability, edge_image=edge_image(scores))  # or where the spectra change
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.cluster.supervision import computes
from eds_xr.provenance import with_step
from eds_xr.schema import PHASE, EdsError, check_same_grid, label_array, spatial_dims
from eds_xr.segmentation.graph_cut.expansion import MAX_WEIGHT
from eds_xr.segmentation.graph_cut.tiles import (
    How,
    Labels,
    PottsModel,
    bytes_needed,
    difference_sums,
    energy_of,
    label_alone,
    label_tiled,
    label_whole,
)
from eds_xr.workers import here

if TYPE_CHECKING:
    import dask.array as da

#: Images that need more memory than this are labelled in tiles: workers of a GiB must hold them.
MEMORY_BYTES = 5e8
#: In the plane without and with diagonals, in the volume without and with them.
NEIGHBOURS = (4, 8, 6, 26)
#: Pixels of a task when probabilities come without chunks.
_BLOCK_PIXELS = 2**18

Image = tuple["da.Array", "da.Array | None"]


@computes
def smooth(
    probability: xr.DataArray,
    *,
    smoothness: float = 1.0,
    neighbours: int = 8,
    edge_image: xr.DataArray | None = None,
    edge_weight: float = 1.0,
    edge_variance: float | None = None,
    memory_bytes: float = MEMORY_BYTES,
) -> xr.DataArray:
    """Return the labels L that minimise the energy of a Potts model.

    ``E = sum_i -ln p_i(L_i) + sum_(i~j) [L_i != L_j] w_ij``, every pair of neighbours once, with
    ``w_ij = (smoothness + edge_weight exp(-|e_i - e_j|^2 / 2v)) / |i - j|``. Without an edge image
    the second term is left out. For two phases the minimum is exact (one minimum cut); for more
    it is sought by alpha expansion, which in theory ends within a factor of two of the minimum, and
    in practice far nearer.

    Computes: the labels; of probabilities on a cluster they stay with its workers. An image takes
    about ``4 neighbours + 8 phases + 22`` bytes a pixel, with an edge image ``2 neighbours + 8
    channels + 12`` more (up to 512 x 512 pixels PyMaxflow solves, with the same result and at most
    250 MB more). Where that exceeds `memory_bytes`, it is labelled in tiles of 2048 x 2048 pixels
    (160 x 160 x 160 in a volume), one a task, and the probabilities are computed twice: persist
    them. The energy is then not quite the lowest, by less than 0.1 %. The result depends neither on
    the chunks nor on the number of workers.

    Parameters
    ----------
    probability : DataArray [phase, y, x]
        Sums to 1 over ``phase``; values below 1e-6 count as 1e-6, so that 0 and 1 are harmless. A
        line scan has neighbours along the line.
    smoothness : float
        Cost of a unit length of border; 0 gives the most probable phase of each pixel, when there
        is no edge image.
    neighbours : {8, 4, 26, 6}
        8 and 4: in the plane of the last two dimensions, with or without diagonals; images along
        leading dimensions (frame, z) are labelled one by one. 26 and 6: in the volume of the last
        three. Distances ``|i - j|`` are in pixels: 1, the root of 2, the root of 3.
    edge_image : DataArray [y, x] or [channel, y, x], optional
        Whatever shows where borders are: HAADF, scores, :func:`edge_image`. Of several channels
        the Euclidean distance counts.
    edge_weight : float
        Cost of a unit length of border where the edge image does not change.
    edge_variance : float, optional
        v, in squared units of the edge image. By default the mean of ``|e_i - e_j|^2`` over
        neighbours (Rother, Kolmogorov & Blake, doi:10.1145/1015706.1015720).
    memory_bytes : float
        Largest memory for an image in one piece.

    Returns
    -------
    DataArray [y, x; uint8 label]
        With the names of ``phase``; attribute ``energy`` is E.

    Raises
    ------
    EdsError
        When the probabilities are none, the edge image lies on another grid or holds NaN, or an
        option cannot be used.

    Notes
    -----
    smoothness and edge_weight are lambda_potts and lambda_edge of Fiji's Graph Cut, which does not
    divide the former by the distance.

    References
    ----------
    Boykov, Veksler & Zabih, IEEE Trans. Pattern Anal. Mach. Intell. 23 (2001) 1222,
    doi:10.1109/34.969114; Boykov & Kolmogorov, ibid. 26 (2004) 1124, doi:10.1109/TPAMI.2004.60;
    edge weights: Boykov & Jolly, ICCV 2001, doi:10.1109/ICCV.2001.937505.
    """
    model = _model(probability, smoothness, neighbours, edge_image, edge_weight, edge_variance)
    probability = probability.transpose(PHASE, ...)
    images = _images(probability, edge_image, neighbours)
    how = _how(probability, edge_image)
    found = [_label(*image, model, memory_bytes, how) for image in images]
    labels = [label for label, _ in found]
    values = (labels[0] if len(labels) == 1 else _stacked(labels)).reshape(probability.shape[1:])
    result = label_array(values + np.uint8(1), probability, _names(probability))
    result.attrs |= with_step(
        {"history": probability.attrs.get("history", [])}, "graph_cut", **_step(model, edge_image)
    )
    result.attrs["energy"] = float(sum(energy for _, energy in found))
    return result


@computes
def potts_energy(
    label: xr.DataArray,
    probability: xr.DataArray,
    *,
    smoothness: float = 1.0,
    neighbours: int = 8,
    edge_image: xr.DataArray | None = None,
    edge_weight: float = 1.0,
    edge_variance: float | None = None,
) -> float:
    """Return the energy E of a labelling, to compare it with that of :func:`smooth`.

    Computes: the probabilities, tile by tile.

    Parameters
    ----------
    label : DataArray [y, x; integer label]
        ``i`` is the i-th phase of `probability`, from 1; no pixel may be without.
    probability : DataArray [phase, y, x]
    smoothness, neighbours, edge_image, edge_weight, edge_variance
        As for :func:`smooth`.

    Raises
    ------
    EdsError
        As :func:`smooth`, and when the labels lie on another grid or name no phase.
    """
    model = _model(probability, smoothness, neighbours, edge_image, edge_weight, edge_variance)
    probability = probability.transpose(PHASE, ...)
    values = _label_values(label, probability)
    images = list(_images(probability, edge_image, neighbours))
    values = values.reshape(len(images), *images[0][0].shape[1:])
    how = _how(probability, edge_image, label)
    return sum(energy_of(v, *image, model, how) for v, image in zip(values, images, strict=True))


def edge_image(channels: xr.DataArray) -> xr.DataArray:
    """Return an edge image of the spectra: roots of each channel's share of the pixel's counts.

    The distance of two pixels is then that of Hellinger between their compositions (times the
    root of 2): it does not depend on thickness, is at most the root of 2, and Poisson noise adds
    the same ``1 / 4N`` to the variance of every channel of N counts in all.

    Lazy: like `channels`.

    Parameters
    ----------
    channels : DataArray [y, x, component; counts]
        Scores, element maps along ``channel``, or spectra; negative counts are taken as 0. Spectra
        of few counts differ by their noise most of all: rebin them along energy first.

    Returns
    -------
    DataArray [y, x, component; float32]
        Squares sum to 1; pixels without counts have equal shares.

    Raises
    ------
    EdsError
        Unless there is exactly one dimension that is not spatial.
    """
    dim = _channel_dim(channels)
    counts = channels.astype(np.float32).clip(min=0)
    total = counts.sum(dim)
    shares = xr.where(total > 0, counts / total.where(total > 0, 1), 1 / channels.sizes[dim])
    result = np.sqrt(shares).astype(np.float32).transpose(*channels.dims).rename("composition")
    result.attrs = {"long_name": "root of the share of counts", "units": "1"}
    return result


def _model(
    probability: xr.DataArray, smoothness: float, neighbours: int,
    edge_image: xr.DataArray | None, edge_weight: float, edge_variance: float | None,
) -> PottsModel:  # fmt: skip
    """Check the input; return the model, with the edge image's own variance if none is given."""
    edge_weight = 0.0 if edge_image is None else edge_weight
    _check_options(smoothness, neighbours, edge_weight, edge_variance)
    _check_form(probability, neighbours)
    if edge_image is None:
        return PottsModel(smoothness, neighbours)
    if not isinstance(edge_image, xr.DataArray):
        raise EdsError(f"expected an edge image (DataArray), found {type(edge_image).__name__}")
    check_same_grid(probability, edge_image, "the edge image")
    extra = set(map(str, edge_image.dims)) - set(spatial_dims(probability))
    if len(extra) > 1:
        raise EdsError(f"the edge image may have one dimension of channels, found {sorted(extra)}")
    model = PottsModel(smoothness, neighbours, edge_weight)
    # values are looked at even when a variance is given: NaN would be no weight at all
    sums = [
        difference_sums(edges, model, _how(probability, edge_image))
        for _, edges in _images(probability.transpose(PHASE, ...), edge_image, neighbours)
        if edges is not None
    ]
    mean = sum(total for total, _ in sums) / max(1, sum(n for _, n in sums))
    return model._replace(edge_variance=float(f"{edge_variance or mean or 1.0:.6g}"))


def _label(
    image: da.Array, edges: da.Array | None, model: PottsModel, memory_bytes: float, how: How
) -> tuple[Labels, float]:
    if model.smoothness == model.edge_weight == 0:
        return label_alone(image, model, how)
    if bytes_needed(image, edges, model) <= memory_bytes:
        return label_whole(image, edges, model, how)
    return label_tiled(image, edges, model, how)


def _how(*given: xr.DataArray | None) -> How:
    """Return where to compute: here, when all that is given is here already."""
    return here() if all(a is None or a.chunks is None for a in given) else {}


def _stacked(labels: list[Labels]) -> Labels:
    import dask.array as da

    return np.stack(labels) if isinstance(labels[0], np.ndarray) else da.stack(labels)


def _images(
    probability: xr.DataArray, edge_image: xr.DataArray | None, neighbours: int
) -> Iterator[Image]:
    """Yield each image as ``[phase, z, y, x]``, and its edge image ``[channel, z, y, x]``."""
    dims = spatial_dims(probability)
    images = _split(_on_dask(probability), neighbours)
    if edge_image is None:
        yield from zip(images, itertools.repeat(None))
        return
    edges = edge_image.transpose(..., *dims)
    edges = edges if edges.ndim > len(dims) else edges.expand_dims("channel")
    yield from zip(images, _split(_on_dask(edges), neighbours), strict=True)


def _on_dask(array: xr.DataArray) -> da.Array:
    import dask.array as da

    if array.chunks is not None:
        return array.data
    side = max(1, int(_BLOCK_PIXELS ** (1 / max(1, array.ndim - 1))))
    return da.from_array(array.values, chunks=(-1, *(side,) * (array.ndim - 1)), name=False)


def _split(array: da.Array, neighbours: int) -> Iterator[da.Array]:
    """Yield the planes, or the volumes, of an array of any number of leading dimensions."""
    spatial = array.shape[1:]
    dims = min(len(spatial), 2 if neighbours in (4, 8) else 3)
    for leading in np.ndindex(*spatial[: len(spatial) - dims]):
        yield array[(slice(None), *leading, *(None,) * (3 - dims))]


def _step(model: PottsModel, edge_image: xr.DataArray | None) -> dict[str, Any]:
    if edge_image is None:
        return {"smoothness": model.smoothness, "neighbours": model.neighbours}
    return model._asdict() | {"edge_image": str(edge_image.name or "unnamed")}


def _label_values(label: xr.DataArray, probability: xr.DataArray) -> Labels:
    """Return labels from 0, in the order of the pixels of `probability`."""
    if not isinstance(label, xr.DataArray) or label.dtype.kind not in "iu":
        found = getattr(label, "dtype", type(label).__name__)
        raise EdsError(f"expected labels (a DataArray of integers), found {found}")
    check_same_grid(probability, label, "the label image")
    if label.ndim != probability.ndim - 1:
        raise EdsError(f"labels may have no dimensions but the spatial ones, found {label.dims}")
    from dask.base import compute

    values = label.transpose(*spatial_dims(probability)).data
    phases, (least, most) = probability.sizes[PHASE], compute(values.min(), values.max())
    if not 1 <= least <= most <= phases:
        raise EdsError(f"labels must be 1 to {phases}, found {least} to {most}")
    return (values - 1).astype(np.uint8)


def _check_options(
    smoothness: float, neighbours: int, edge_weight: float, edge_variance: float | None
) -> None:
    if not 0 <= smoothness < MAX_WEIGHT:
        raise EdsError(f"smoothness must be 0 to 1000 (1 is usual), found {smoothness}")
    if not 0 <= edge_weight < MAX_WEIGHT - smoothness:
        raise EdsError(f"edge_weight must be 0 to 1000 less smoothness, found {edge_weight}")
    if neighbours not in NEIGHBOURS:
        raise EdsError(f"neighbours must be 4, 8, 6 or 26, found {neighbours}")
    if edge_variance is not None and not 0 < edge_variance < float("inf"):
        raise EdsError(f"edge_variance must be above 0, found {edge_variance}")


def _check_form(probability: xr.DataArray, neighbours: int) -> None:
    if not isinstance(probability, xr.DataArray) or PHASE not in probability.dims:
        found = getattr(probability, "dims", type(probability).__name__)
        raise EdsError(
            f"expected probabilities with a dimension 'phase', found {found}; make them with "
            "eds_xr.classify.predict"
        )
    if probability.ndim < 2 or probability.size == 0:
        raise EdsError(f"no pixels to label, found {dict(probability.sizes)}")
    if not 2 <= probability.sizes[PHASE] <= 255:
        raise EdsError(f"expected 2 to 255 phases, found {probability.sizes[PHASE]}")
    if neighbours in (6, 26) and probability.ndim < 4:
        raise EdsError(
            f"{neighbours} neighbours need three spatial dimensions, found "
            f"{spatial_dims(probability)}; use neighbours=8"
        )


def _channel_dim(channels: xr.DataArray) -> str:
    if isinstance(channels, xr.DataArray):
        others = [str(d) for d in channels.dims if d not in spatial_dims(channels)]
        if len(others) == 1:
            return others[0]
    found = getattr(channels, "dims", type(channels).__name__)
    raise EdsError(f"expected channels with one dimension that is not spatial, found {found}")


def _names(probability: xr.DataArray) -> list[str]:
    if PHASE in probability.coords:
        return [str(name) for name in probability[PHASE].values]
    return [f"phase_{i + 1}" for i in range(probability.sizes[PHASE])]
