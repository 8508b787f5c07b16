"""Regions in ImageJ's files: one of them (``.roi``), or many in an archive (``.zip``).

Coordinates of areas are corners of pixels there, as in :class:`Roi`; those of lines and points are
centres of pixels, half a pixel less. A region's phase is its name without the number after the
last hyphen (``Fp-12`` marks Fp), or its group when ImageJ has named it itself.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.atomic_write import written_file
from eds_xr.schema import EdsError
from eds_xr.segmentation.rois import ERASER, Roi

#: An archive may hold no more than this, unpacked, and no more regions.
MAX_BYTES = 256 * 2**20
MAX_ROIS = 100_000
#: Names that ImageJ gives by itself: frame, row and column of the centre.
OWN_NAME = re.compile(r"(\d+-)?\d{4,}-\d{4,}")


def read_rois(path: str | os.PathLike[str]) -> list[Roi]:
    """Read the regions of an ImageJ file.

    Computes: the regions; they are small.

    Parameters
    ----------
    path : str or path
        ``.roi``, or a ``.zip`` of such.

    Raises
    ------
    EdsError
        When the file is none, is damaged, or holds a kind of region without pixels (text, image).
    """
    try:
        return [_roi(name, content) for name, content in _members(Path(path))]
    except (OSError, zipfile.BadZipFile) as error:
        raise EdsError(
            f"{path} cannot be read: {error}; expected an ImageJ .roi or .zip"
        ) from error


def write_rois(
    rois: Sequence[Roi], path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write regions as ImageJ's ROI Manager reads them: a ``.zip``, or one as ``.roi``.

    Computes: at once. The file appears whole or not at all.

    Raises
    ------
    EdsError
        When the file exists (without `overwrite`), a ``.roi`` should hold several, or one of them
        is an eraser.
    """
    if any(roi.phase == ERASER for roi in rois):
        raise EdsError(
            "ImageJ has no erasers: paint the strokes, and write the outlines of what is left "
            "with eds_xr.scribbles.write"
        )
    target, phases = Path(path), list(dict.fromkeys(roi.phase for roi in rois))
    if target.suffix.lower() == ".roi" and len(rois) != 1:
        raise EdsError(f"a .roi file holds one region, found {len(rois)}; name it .zip")
    number = dict.fromkeys(phases, 0)
    contents = {}
    for roi in rois:
        number[roi.phase] += 1
        name = f"{roi.phase}-{number[roi.phase]}"
        contents[name] = _bytes(roi, name, phases.index(roi.phase) + 1)
    with written_file(target, overwrite=overwrite) as partial:
        if target.suffix.lower() == ".roi":
            partial.write_bytes(*contents.values())
            return target
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(f"{name.replace('/', '_')}.roi", content)
    return target


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every region in a file, bounded."""
    if path.suffix.lower() == ".roi":
        if path.stat().st_size > MAX_BYTES:
            raise EdsError(f"{path} is larger than any ImageJ region: {path.stat().st_size} bytes")
        yield path.stem, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        found = [m for m in archive.infolist() if m.filename.lower().endswith(".roi")]
        total = sum(member.file_size for member in found)
        if not found:
            raise EdsError(f"{path} holds no ImageJ region (.roi)")
        if total > MAX_BYTES or len(found) > MAX_ROIS:
            raise EdsError(
                f"{path} holds {len(found)} regions of {total} bytes: more than sensible"
            )
        for member in found:
            yield Path(member.filename).stem, archive.read(member)


def _roi(name: str, content: bytes) -> Roi:
    import roifile

    try:
        found = roifile.ImagejRoi.frombytes(content)
        kind = _kind(found)
        paths = found.coordinates(multi=True) if kind != "points" else [found.coordinates()]
        # x, y to y, x; also the corners that a frame of fractions of a pixel has
        corners = _subpixel_frame(found) or [np.asarray(p, float)[:, ::-1] for p in paths]
    except EdsError:
        raise
    except Exception as error:  # whatever a damaged file makes of the parser
        raise EdsError(f"the ImageJ region {name!r} is damaged: {error}") from error
    shift, argb = 0.5 if kind in ("line", "points") else 0.0, found.stroke_color
    return Roi(
        phase=_phase(found, name),
        kind=kind,
        paths=tuple(path + shift for path in corners if len(path)),
        width_pixels=float(found.float_stroke_width or found.stroke_width or 1),
        color=f"#{argb[1:].hex()}" if len(argb) == 4 and argb[0] else "",
    )


def _kind(found: Any) -> str:
    import roifile

    types, subtypes = roifile.ROI_TYPE, roifile.ROI_SUBTYPE
    if found.subtype in (subtypes.TEXT, subtypes.IMAGE):
        raise EdsError(f"the region {found.name!r} is a {found.subtype.name.lower()}, no pixels")
    if found.composite:
        return "polygon"
    kinds = {types.RECT: "rectangle", types.OVAL: "oval", types.POINT: "points"}
    kinds |= dict.fromkeys((types.LINE, types.FREELINE, types.POLYLINE, types.ANGLE), "line")
    kinds |= dict.fromkeys((types.POLYGON, types.FREEHAND, types.TRACED), "polygon")
    if found.roitype not in kinds:
        raise EdsError(f"the region {found.name!r} is of an unknown type, {int(found.roitype)}")
    return kinds[found.roitype]


def _subpixel_frame(found: Any) -> list[np.ndarray]:
    """Return the corners of a rectangle or an oval; of other regions none."""
    import roifile

    if found.composite or found.roitype not in (roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL):
        return []
    if found.subpixelrect:
        corners = [[found.yd, found.xd], [found.yd + found.heightd, found.xd + found.widthd]]
    else:
        corners = [[found.top, found.left], [found.bottom, found.right]]
    return [np.array(corners, float)]


def _phase(found: Any, name: str) -> str:
    name = (found.name or name).strip()
    if not name or OWN_NAME.fullmatch(name):
        return f"group_{found.group}" if found.group else "roi"
    return re.sub(r"-\d+$", "", name)


def _bytes(roi: Roi, name: str, group: int) -> bytes:
    import roifile

    types = roifile.ROI_TYPE
    if roi.kind in ("rectangle", "oval"):
        made = _frame(roi)
    elif len(roi.paths) > 1:
        made = _composite(roi)
    else:
        shift = 0.5 if roi.kind in ("line", "points") else 0.0
        made = roifile.ImagejRoi.frompoints((roi.paths[0] - shift)[:, ::-1].astype(np.float32))
        kinds = {"line": types.POLYLINE, "points": types.POINT, "polygon": types.POLYGON}
        made.roitype = kinds[roi.kind]
    made.name, made.group = name, min(group, 255)
    made.float_stroke_width = roi.width_pixels if roi.kind == "line" else 0.0
    if roi.color:
        made.stroke_color = b"\xff" + bytes.fromhex(roi.color.lstrip("#"))
    return bytes(made.tobytes())


def _frame(roi: Roi) -> Any:
    """Return a rectangle or oval, to fractions of a pixel."""
    import roifile

    kind = roifile.ROI_TYPE.RECT if roi.kind == "rectangle" else roifile.ROI_TYPE.OVAL
    made = roifile.ImagejRoi(roitype=kind, options=roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
    low, high = roi.paths[0].min(axis=0), roi.paths[0].max(axis=0)
    (made.yd, made.xd), (made.heightd, made.widthd) = low.tolist(), (high - low).tolist()
    made.top, made.left = (int(v) for v in np.floor(low))
    made.bottom, made.right = (int(v) for v in np.ceil(high))
    return made


def _composite(roi: Roi) -> Any:
    """Return several outlines as one shape; what an even number encloses is a hole."""
    import roifile

    path: list[float] = []
    for outline in roi.paths:
        for i, (y, x) in enumerate(outline.tolist()):
            path += [0.0 if i == 0 else 1.0, x, y]
        path.append(4.0)
    every = np.concatenate(roi.paths)
    made = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, shape_roi_size=len(path))
    made.multi_coordinates = np.array(path, np.float32)
    made.top, made.left = (int(v) for v in np.floor(every.min(axis=0)))
    made.bottom, made.right = (int(v) for v in np.ceil(every.max(axis=0)))
    return made
