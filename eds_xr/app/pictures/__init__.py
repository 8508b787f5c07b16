"""Pictures of maps of any size: cropped to what is seen, as fine as the screen, part by part."""
