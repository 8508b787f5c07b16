"""What a result does not explain: strangers among its phases."""
