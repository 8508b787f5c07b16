"""The drawing surface of the apps: images, painted strokes and outlines in a browser."""
