"""Builds of the module that are wrong on purpose, each in one way, to see that the rules find what is wrong.

python -m chaos wrong            all of them
python -m chaos wrong lease ack  those whose names contain one of these words
"""

from chaos.wrong.hunt import main

__all__ = ["main"]
