"""Contract suites and data strategies, shipped so that others can prove an adapter."""
