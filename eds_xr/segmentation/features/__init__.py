"""Filters of channel images, the features that a pixel classifier learns from."""

from eds_xr.segmentation.features.stack import (
    ALL_KINDS,
    CHANNEL,
    DEFAULT_KINDS,
    FEATURE,
    SCALES,
    as_channels,
    feature_names,
    pixel_features,
)

__all__ = [
    "ALL_KINDS",
    "CHANNEL",
    "DEFAULT_KINDS",
    "FEATURE",
    "SCALES",
    "as_channels",
    "feature_names",
    "pixel_features",
]
