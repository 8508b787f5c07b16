"""Bruker .bcf."""
