"""The study of a rock of the deep mantle, from file to figures."""
