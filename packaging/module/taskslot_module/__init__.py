"""The taskslot module for Redis and Valkey. `taskslot path` prints where its file is."""
