"""The data model: names of dimensions, units, and the checks at every stage's door.

Parts of the package meet only in the xarray forms described here. Each ``check_*`` function
returns nothing when its input is right and raises :class:`EdsError` otherwise, saying what was
expected, what was found and the cure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.workers import task_name

ENERGY = "energy"
COMPONENT = "component"
PHASE = "phase"
LINE = "line"
ELEMENT = "element"
DETECTOR = "detector"
#: A place whose counts no mixture of the phases explains.
STRANGER = "stranger"
#: Attributes that each of several detectors has of its own, as coordinates.
DETECTOR_ATTRS = ("elevation_angle_deg", "azimuth_angle_deg", "energy_resolution_mnka_ev")
#: Of lines and what follows from them: why a number is not to be believed (str, empty where it is),
#: and which are zero by the choice of a subtraction's scale, not measured (bool).
DOUBT, ASSUMED = "doubt", "assumed"
#: Of a pixel, or of all that a spectrum was summed of [s]; and an image's attribute, where its
#: pixels all have the same.
LIVE_TIME, PIXEL_LIVE_TIME = "live_time_s", "pixel_live_time_s"

#: Categorical colours for phases that bring none (distinct also for colour-blind readers).
COLORS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#332288",
    "#ee7733", "#44aa99", "#882255", "#999933",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of data: what tells it from others, and the picture that shows it.

    Attributes
    ----------
    name, picture : str
    of : type
        DataArray or Dataset.
    variables : tuple of str
        That a Dataset has; the first of them has the dimensions asked for.
    dims : set of str
    dtypes : str
        Kinds of dtype of an array; "" for any.
    flagged : bool
        Whether its values have names.
    spatial : int, optional
        How many dimensions are positions on the sample.
    """

    name: str
    picture: str
    of: type
    variables: tuple[str, ...] = ()
    dims: frozenset[str] = frozenset()
    dtypes: str = ""
    spatial: int | None = None
    flagged: bool = False

    def fits(self, data: xr.DataArray | xr.Dataset) -> bool:
        """Return whether data are of this kind."""
        if not isinstance(data, self.of):
            return False
        if isinstance(data, xr.Dataset):
            if not set(self.variables) <= set(data.data_vars):
                return False
            data = data[self.variables[0]]
        return (
            self.dims <= set(map(str, data.dims))
            and (not self.dtypes or data.dtype.kind in self.dtypes)
            and (not self.flagged or "flag_meanings" in data.attrs)
            and (self.spatial is None or len(spatial_dims(data)) == self.spatial)
        )


def _kind(name: str, picture: str, of: type, needs: str = "", **more: Any) -> Kind:
    """Return a kind; of a Dataset `needs` are variables, of an array dimensions."""
    words = tuple(needs.split())
    found = {"variables": words} if of is xr.Dataset else {"dims": frozenset(words)}
    return Kind(name, picture, of, **(found | more))


#: Kinds of data, the most special first, and the picture of each.
KINDS = (
    _kind("segmentation", "plot_phases", xr.Dataset, "present"),
    _kind("strangers", "plot_strangers", xr.Dataset, "residual excess", spatial=2),
    _kind("factorisation", "plot_components", xr.Dataset, "scores loadings"),
    _kind("evidence of the rank", "plot_rank", xr.Dataset, "eigenvalue gain"),
    _kind("partition coefficients", "plot_partition", xr.Dataset, "partition_coefficient"),
    _kind("maps of lines", "plot_maps", xr.Dataset, "net", spatial=2),
    _kind("maps of a composition", "plot_maps", xr.Dataset, "atomic_fraction", spatial=2),
    _kind("lines", "plot_budget", xr.Dataset, "net effect_covariance"),
    _kind("composition", "plot_budget", xr.Dataset, "atomic_fraction_effect_covariance"),
    _kind("spectra", "plot_spectra", xr.Dataset, "counts variance", dims=frozenset({ENERGY})),
    _kind("spectrum image, spectra or loadings", "plot_spectra", xr.DataArray, ENERGY),
    _kind("masks", "plot_phases", xr.DataArray, dtypes="b", spatial=2),
    _kind("labels", "plot_phases", xr.DataArray, dtypes="iu", spatial=2, flagged=True),
    _kind("maps", "plot_maps", xr.DataArray, spatial=2),
    _kind("line scan", "plot_profile", xr.DataArray, spatial=1),
)


class EdsError(ValueError):
    """Input that the package cannot work with; the message names the cure."""


def spatial_dims(image: xr.DataArray | xr.Dataset) -> tuple[str, ...]:
    """Return the dimensions of an image, or spectrum image, that are positions on the sample."""
    other = {ENERGY, COMPONENT, PHASE, LINE, ELEMENT, DETECTOR, "feature", "channel"}
    return tuple(str(d) for d in image.dims if d not in other)


def texts_of(attrs: Mapping[Any, Any], name: str) -> list[str]:
    """Return the texts of an attribute; netCDF gives back a list of one as a text."""
    found = attrs.get(name, [])
    return [found] if isinstance(found, str) else [str(text) for text in found]


def check_spectrum_image(image: xr.DataArray, *, detectors: bool = False) -> None:
    """Raise unless `image` is a spectrum image: ``(*spatial, energy)``, one chunk in energy.

    With `detectors` it may have several, along ``detector``.

    Looks at dimensions, coordinates, dtype and chunks only; nothing is computed. Values
    are checked where they are read, by :func:`check_counts_block`.
    """
    if not isinstance(image, xr.DataArray):
        raise EdsError(
            f"expected a spectrum image (xarray.DataArray), found {type(image).__name__}; "
            "open a store with eds_xr.open, or take one variable out of the Dataset"
        )
    check_energy(image)
    if image.dims[-1] != ENERGY:
        raise EdsError(
            f"energy must be the last dimension, found {image.dims}; "
            "use da.transpose(..., 'energy')"
        )
    if image.ndim < 2:
        raise EdsError("expected a spectrum image with at least one spatial dimension, found none")
    if not detectors:
        check_one_detector(image)
    if image.dtype.kind not in "uif":
        raise EdsError(f"expected counts (unsigned integers), found dtype {image.dtype}")
    if image.size == 0:
        raise EdsError(f"the spectrum image is empty: {dict(image.sizes)}")
    chunks = image.variable.chunksizes.get(ENERGY, ())
    if len(chunks) > 1:
        raise EdsError(f"energy has {len(chunks)} chunks, expected 1; use da.chunk(energy=-1)")


def check_one_detector(image: xr.DataArray) -> None:
    """Raise for an image that keeps several detectors apart."""
    if DETECTOR in image.dims:
        raise EdsError(
            f"the image keeps its {image.sizes[DETECTOR]} detectors apart, and this is for one: "
            "add them up, eds_xr.sum_detectors(image), or choose one, image.isel(detector=0)"
        )


def check_energy(spectra: xr.DataArray | xr.Dataset) -> None:
    """Raise unless there is a linear, rising energy axis."""
    if ENERGY not in spectra.dims:
        raise EdsError(
            f"no dimension 'energy', found {tuple(spectra.dims)}; rename the spectral dimension "
            "with da.rename(...), or convert the vendor file with eds_xr.convert"
        )
    if ENERGY not in spectra.coords:
        raise EdsError(
            "dimension 'energy' has no coordinate; add the calibrated channel centres: "
            "da.assign_coords(energy=offset + scale * np.arange(n))"
        )
    steps = np.diff(spectra[ENERGY].values.astype(float))
    if not np.isfinite(steps).all() or (steps.size and steps.min() <= 0):
        raise EdsError("the energy axis must rise and be finite; sort it with da.sortby('energy')")
    if steps.size and np.ptp(steps) > 1e-3 * steps.mean():
        raise EdsError(
            f"the energy axis must be linear, found channel widths of {steps.min():.6g} to "
            f"{steps.max():.6g}; interpolating counts is not exact, so recalibrate the axis"
        )


def check_energy_in_kev(spectra: xr.DataArray | xr.Dataset) -> None:
    """Raise unless the energy axis is in keV (X-ray lines are)."""
    units = spectra[ENERGY].attrs.get("units", "keV")
    if units != "keV":
        raise EdsError(f"X-ray lines need an energy axis in keV, found {units!r}")


def leading_dims(spectra: xr.Dataset) -> list[str]:
    """Return the dimensions of spectra before ``energy``."""
    return [str(d) for d in spectra["counts"].dims if d != ENERGY]


def check_counts_block(block: np.ndarray) -> None:
    """Raise when a block of values cannot be counts: NaN, infinite or negative."""
    if block.dtype.kind == "u" or block.size == 0:
        return
    lowest, highest = block.min(), block.max()  # one NaN makes both of them NaN
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise EdsError("the counts hold NaN or infinite values; use da.fillna(0) where they mean 0")
    if lowest < 0:
        raise EdsError(
            f"the counts hold negative values (down to {lowest:g}); counts are never negative: "
            "undo a background subtraction, or clip deliberately with da.clip(min=0)"
        )


def check_same_grid(image: xr.DataArray, other: xr.DataArray, what: str = "the mask") -> None:
    """Raise unless `other` lies on the spatial grid of `image` (sizes and coordinates)."""
    for dim in spatial_dims(image):
        if dim not in other.dims:
            raise EdsError(f"{what} has no dimension {dim!r}, found {tuple(other.dims)}")
        if image.sizes[dim] != other.sizes[dim]:
            raise EdsError(
                f"{what} has {other.sizes[dim]} pixels along {dim!r}, the spectrum image "
                f"{image.sizes[dim]}: make both on the same grid (crop or rebin one of them)"
            )
        if dim in image.coords and dim in other.coords:
            a, b = image[dim].values, other[dim].values
            step = abs(a[1] - a[0]) if a.size > 1 else 1.0
            if not np.allclose(a, b, rtol=0, atol=1e-3 * step):
                raise EdsError(
                    f"{what} lies elsewhere along {dim!r}: it starts at {b[0]:g} and ends at "
                    f"{b[-1]:g}, the spectrum image at {a[0]:g} and {a[-1]:g}"
                )


def check_masks(image: xr.DataArray, masks: xr.DataArray, what: str = "the mask") -> None:
    """Raise unless `masks` are boolean, on the grid of `image`, with at most a phase dimension."""
    check_same_grid(image, checked_mask(masks), what)
    extra = set(masks.dims) - set(spatial_dims(image)) - {PHASE}
    if extra:
        raise EdsError(f"masks may add only a dimension 'phase', found {sorted(map(str, extra))}")


def checked_mask(mask: xr.DataArray) -> xr.DataArray:
    """Return `mask`, one or several, if it is boolean; else raise."""
    if not isinstance(mask, xr.DataArray):
        raise EdsError(f"expected masks as a DataArray, found {type(mask).__name__}")
    if mask.dtype != bool:
        raise EdsError(
            f"masks must be boolean, found {mask.dtype}; compare first, e.g. labels == 1 "
            "or eds_xr.masks.from_labels(labels)"
        )
    return mask


def one_mask(image: xr.DataArray, mask: xr.DataArray, what: str = "the mask") -> xr.DataArray:
    """Return a mask in the order of the image's dimensions, bare of coordinates, checked."""
    check_masks(image, mask, what)
    if PHASE in mask.dims:
        raise EdsError(f"{what} must be one mask, found one a phase; use masks.sel(phase=...)")
    dims = spatial_dims(image)
    return xr.DataArray(mask.transpose(*dims).data, dims=dims)


def check_spectra(spectra: xr.Dataset) -> None:
    """Raise unless `spectra` is a Dataset with counts and variance over energy."""
    if not isinstance(spectra, xr.Dataset):
        raise EdsError(
            f"expected spectra (a Dataset with counts and variance), found "
            f"{type(spectra).__name__}; make them with da.eds.sum_spectra(masks)"
        )
    missing = {"counts", "variance"} - set(spectra.data_vars)
    if missing:
        raise EdsError(f"the spectra lack {sorted(missing)}; counts and variance travel together")
    check_energy(spectra)


def zero_where_assumed(lines: xr.Dataset) -> xr.Dataset:
    """Return lines whose assumed ones are zero, without errors and without limits."""
    if ASSUMED not in lines:
        return lines
    # lines that were joined to others without any have NaN for none
    keep = ~lines[ASSUMED].fillna(False).astype(bool)
    other, found = f"{LINE}_other", {}
    for name, values in lines.data_vars.items():
        if str(name).endswith("_limit") or name == "critical_level":
            found[name] = values.where(keep)
        elif name in ("net", "shared_error") or str(name).endswith("variance"):
            both = keep
            if other in values.dims:  # the caller may have chosen lines, which leaves these
                names = {other: values[other] if other in values.coords else lines[LINE].values}
                both = keep & keep.rename({LINE: other}).reindex(names, fill_value=True)
            if LINE in values.dims:
                found[name] = values.where(both, 0.0).transpose(*values.dims)
    return lines.assign(found)


def check_one_of(value: str, allowed: Iterable[str], what: str) -> None:
    """Raise unless `value` is one of `allowed`."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise EdsError(f"{what} must be one of {', '.join(map(repr, allowed))}, found {value!r}")


def checked_labels(label: xr.DataArray) -> xr.DataArray:
    """Return a label image whose values are checked: 0 for none, the others named phases.

    Raises
    ------
    EdsError
        If it is no image of integers, or holds a value that is negative or has no name; where it is
        lazy, when it is computed.
    """
    if not isinstance(label, xr.DataArray) or label.dtype.kind not in "iu":
        found = getattr(label, "dtype", type(label).__name__)
        raise EdsError(
            f"labels must be integers: expected an integer label image (DataArray), found {found}; "
            "wrap integer labels (0 = none) with eds_xr.schema.label_array(values, like, phases)"
        )
    most = len(phase_names(label))
    if label.chunks is None:
        _checked_labels_block(label.values, most)
        return label
    return label.copy(data=label.data.map_blocks(_checked_labels_block, most, dtype=label.dtype))


def label_array(
    values: Any,
    like: xr.DataArray,
    phases: Sequence[str],
    colors: Sequence[str] = COLORS,
) -> xr.DataArray:
    """Wrap an integer image as labels with CF flags.

    Parameters
    ----------
    values : array_like of uint8, shape of the spatial dimensions of `like`
        0 is "no phase"; ``i`` is ``phases[i - 1]``.
    like : DataArray
        Gives spatial dimensions and coordinates.
    phases : sequence of str
        Names; spaces become underscores, as CF flags are separated by spaces.
    colors : sequence of str
        A colour a phase, repeated when there are fewer.
    """
    dims = spatial_dims(like)
    names = [str(p).replace(" ", "_") for p in phases]
    attrs = {
        "long_name": "phase label",
        "flag_values": list(range(len(names) + 1)),
        "flag_meanings": " ".join(["none", *names]),
        "flag_colors": " ".join(["none", *(colors[i % len(colors)] for i in range(len(names)))]),
    }
    coords = spatial_coords(like)
    return xr.DataArray(values, dims=dims, coords=coords, name="label", attrs=attrs)


def phase_names(label: xr.DataArray) -> list[str]:
    """Return the phases of a label image, without "none", in the order of their values."""
    meanings = str(label.attrs.get("flag_meanings", "")).split()
    if not meanings:
        count = int(label.max()) if label.size else 0
        return [f"phase_{i}" for i in range(1, count + 1)]
    return meanings[1:]


def phase_colors(label: xr.DataArray) -> list[str]:
    """Return a colour for each of :func:`phase_names`."""
    colors = str(label.attrs.get("flag_colors", "")).split()[1:]
    return colors or [COLORS[i % len(COLORS)] for i in range(len(phase_names(label)))]


def spatial_coords(image: xr.DataArray | xr.Dataset) -> Mapping[Hashable, Any]:
    """Return the index coordinates of the spatial dimensions, with their attributes."""
    return {d: image.coords[d] for d in spatial_dims(image) if d in image.coords}


@task_name("checked labels")
def _checked_labels_block(block: np.ndarray, most: int) -> np.ndarray:
    if block.size and not 0 <= block.min() <= block.max() <= most:
        raise EdsError(
            f"the pixels hold labels {block.min()} to {block.max()}, their flag_meanings name "
            f"{most} phases; set what is no phase to 0, label.where(label > 0, 0), and name all "
            "others with eds_xr.schema.label_array"
        )
    return block
