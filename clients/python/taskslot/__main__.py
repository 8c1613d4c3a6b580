"""`python -m taskslot`: the command line."""

from .cli import main

main()
