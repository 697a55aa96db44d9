"""The host's side: clusters begin, are watched and end here."""
