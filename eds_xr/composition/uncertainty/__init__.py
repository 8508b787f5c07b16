"""What numbers are uncertain by: limits, budgets, errors as text."""
