"""What components are: phases, or something else that changes spectra."""
