"""The use cases: one function for each operation, by subject."""
