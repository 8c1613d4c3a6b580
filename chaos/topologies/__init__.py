"""The servers under test: one file for each topology."""
