"""Embedding: protein sequences in, vectors out.

Reading order: `fasta` (records in), `models` (the registry and what a model is), `randconv` and the
other models, `writer` (HDF5 out), `service` (the use case).
"""
