"""Non-negative matrix factorisation of spectrum images."""
