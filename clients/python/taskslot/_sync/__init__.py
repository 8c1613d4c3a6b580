"""The sync classes. make_sync.py generates them from those in `_async`, so make changes there."""
