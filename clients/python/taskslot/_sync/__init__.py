"""The sync classes, made of those in `_async` by make_sync.py."""
