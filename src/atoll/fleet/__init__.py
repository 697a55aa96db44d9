"""Highly available clusters on instance fleets, which run Atoll's long work."""
