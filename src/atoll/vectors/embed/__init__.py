"""Embedding: protein sequences in, vectors out.

Reading order: `fasta` (records in), `models` (the registry and what a model is), `randconv` and the
other models, `shards` (HDF5 out), `job` (a run that resumes), `service` (the use case).
"""
