"""A second simulator of EDS spectra and spectrum images, which shares nothing with `eds_xr`.

Truth never comes from the model under test: lines, yields and attenuation are xraylib's,
cross-sections those of Bote and Salvat; background, detector, foil and grains are written here.
Nothing in this folder imports `eds_xr` (`test_independent_simulator.py` reads the imports).

* `cross_sections`: ionisation of K, L and M sub-shells by fast electrons.
* `lines`: the lines that an element emits under the beam, with their photons per atom.
* `detector`: efficiency, peak shape with tail and shelf, escape peaks, an energy axis that is off.
* `foil`: thickness, absorption, bremsstrahlung.
* `spectra`: spectra with their truth. `images`: spectrum images with theirs.
* `materials`: a catalogue of 40 materials and the classical overlaps.
"""
