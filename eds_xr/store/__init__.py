"""Zarr stores: converted from vendor files, saved, opened lazily.

>>> import eds_xr.store
>>> eds_xr.convert("map.hspy")                                    # doctest: +SKIP
PosixPath('map.zarr')
>>> image = eds_xr.open("map.zarr")                               # doctest: +SKIP

A store is a Zarr v3 group that ``xarray.open_zarr`` opens with no help: the variable ``counts``
in chunks that are whole along energy, coordinates with units, images such as ``haadf`` as
coordinates ``(y, x)``, instrument attributes on ``counts``, everything else that the vendor's
file says as JSON in the group's attribute ``original_metadata``. Each chunk ends with a CRC32C
checksum; ``metadata_sha256`` is the checksum of the group's ``zarr.json``.

With ``pyramid=True`` the groups ``pyramid/2``, ``pyramid/4`` and ``pyramid/8`` hold the exact sums
of 2 x 2, 4 x 4 and 8 x 8 pixels in the same form: ``xarray.open_zarr(store, group="pyramid/4")``
opens one, ``xarray.open_datatree(store, group="pyramid")`` all of them. The group's attribute
``multiscales`` describes them in the manner of OME-Zarr (as JSON). As in `rebin`, the last bin of
a side that does not divide is part empty, and no count is lost.

`conversion` brings the row blocks of a reader, and `saving` lazy images, to what `writing` creates:
all metadata first, the document without which nothing can be opened last, in a folder or URL of
`targets` that appears whole or not at all. `opening` reads it back and names what is damaged.
"""

from eds_xr.store.conversion import convert, info
from eds_xr.store.opening import open, original_metadata
from eds_xr.store.saving import save

__all__ = ["convert", "info", "open", "original_metadata", "save"]
