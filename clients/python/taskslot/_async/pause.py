"""A pause that lets others go on."""

from asyncio import sleep as pause

__all__ = ["pause"]
