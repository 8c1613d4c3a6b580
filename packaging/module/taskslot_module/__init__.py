"""The taskslot module for Redis and Valkey, and settings for a server. `taskslot path` prints where its file is."""
