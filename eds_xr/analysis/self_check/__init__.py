"""A result that checks itself: what its model misses, and what its intervals hold."""
