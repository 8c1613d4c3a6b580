"""Real servers under load and faults, and a checker that reads the history of all calls alone.

`python -m chaos` runs it. docs/chaos.md explains it.
"""
