"""HyperSpy .hspy and .zspy."""
