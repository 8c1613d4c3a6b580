"""Dead tasks grouped by their errors."""
