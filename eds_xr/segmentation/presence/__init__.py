"""Which phases lie along the beam in each pixel: amounts with their noise, evidence, rehearsal."""
