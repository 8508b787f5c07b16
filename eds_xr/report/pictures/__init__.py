"""Pictures of results: a named function for each kind of data."""
