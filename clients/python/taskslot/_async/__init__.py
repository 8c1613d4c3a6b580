"""The asyncio classes. `make fmt` generates the sync classes in `_sync` from these, so make changes here."""
