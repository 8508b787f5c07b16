"""Net counts of lines, fitted to spectra and to every pixel."""
