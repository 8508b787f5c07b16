"""Pixel classifiers: trained on scribbles, scored by stroke, saved, and predicted with."""

from eds_xr.segmentation.classify.classifier import PixelClassifier, load, save
from eds_xr.segmentation.classify.quality import feature_importance, score_by_stroke
from eds_xr.segmentation.classify.training import predict, train

__all__ = [
    "PixelClassifier",
    "feature_importance",
    "load",
    "predict",
    "save",
    "score_by_stroke",
    "train",
]
