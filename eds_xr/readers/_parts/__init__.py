"""Inner parts of the readers: guards, trees, kernels."""
