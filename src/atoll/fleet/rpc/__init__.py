"""Calls by name over HTTP, JSON there and back: how users and machines ask a host."""
