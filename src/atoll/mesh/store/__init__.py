"""What is kept: records in SQLite or PostgreSQL, changed one batch at a time, each batch whole."""
