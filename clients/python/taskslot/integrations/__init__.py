"""Adapters for other frameworks: their brokers, on taskslot."""
