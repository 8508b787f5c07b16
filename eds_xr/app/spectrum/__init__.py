"""The spectrum beside an image: several of them, lines named, linear or logarithmic."""
