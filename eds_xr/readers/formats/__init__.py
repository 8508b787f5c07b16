"""One reader a vendor."""
