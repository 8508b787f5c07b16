"""The descent of the factorisation and its compiled kernels."""
