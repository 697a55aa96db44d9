"""Benchmarks: ours and a baseline side by side in one run; `python -m bench --help`."""
