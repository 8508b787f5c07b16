"""The explorer: an image and its spectra side by side, and the Python of what was done."""
