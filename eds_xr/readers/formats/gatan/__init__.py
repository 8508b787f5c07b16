"""Gatan .dm3 and .dm4."""
