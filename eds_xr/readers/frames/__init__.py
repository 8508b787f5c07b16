"""Frames of a recording: chosen, summed, freed of drift."""
