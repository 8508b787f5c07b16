"""Velox .emd."""
