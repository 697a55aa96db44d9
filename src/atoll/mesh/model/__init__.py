"""The nouns of the mesh, in Amazon DataZone's words: frozen, no input or output."""
