"""What a page reads of a queue: its keys, its tasks by a filter, its settings."""
