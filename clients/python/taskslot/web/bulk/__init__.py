"""Changes of many tasks at once: a job, what it sends, and the jobs of the process."""
