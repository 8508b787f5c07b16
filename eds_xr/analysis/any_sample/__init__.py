"""The steps of an analysis of any sample, from elements to compositions."""
