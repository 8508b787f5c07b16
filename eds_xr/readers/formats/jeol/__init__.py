"""JEOL .pts."""
