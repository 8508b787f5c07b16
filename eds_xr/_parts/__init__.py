"""Inner parts of the rooms: kernels, tables, helpers. Nothing here is public.

Each part serves one room, or the low layers; the rooms of :mod:`eds_xr` name their source.
"""
