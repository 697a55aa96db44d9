"""Vectors: embed, bucket, index, search."""
