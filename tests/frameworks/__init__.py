"""Runs the test suites of task frameworks against the library's adapters for them."""
