"""What compositions ask of a recording: a thin film, a beam energy, a dose."""
