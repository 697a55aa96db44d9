"""Alembic's folder: how the tables came to be as they are, step by step."""
