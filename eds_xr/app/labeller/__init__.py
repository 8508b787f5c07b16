"""The labeller: paint classes on an image, train, look, correct."""
