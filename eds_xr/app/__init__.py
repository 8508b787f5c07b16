"""Apps in the browser: the explorer and the labeller, and what serves them."""
