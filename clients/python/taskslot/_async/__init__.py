"""The asyncio classes. The sync ones in `_sync` are made of these by `make fmt` (unasync): change them here."""
