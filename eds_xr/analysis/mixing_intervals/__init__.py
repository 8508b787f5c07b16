"""Line ratios of phases over all factorisations that explain the counts as well."""
