"""Graph cut: the most probable labels given that neighbours tend to agree."""

from eds_xr.segmentation.graph_cut.potts import edge_image, potts_energy, smooth

__all__ = ["edge_image", "potts_energy", "smooth"]
