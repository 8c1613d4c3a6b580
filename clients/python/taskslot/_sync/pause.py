# Made of taskslot/_async/pause.py by make_sync.py: change it there.
"""A pause that lets others go on."""

from time import sleep as pause

__all__ = ["pause"]
