"""Which pixels belong to which phase: masks, scribbles, features, forest, graph cut."""
