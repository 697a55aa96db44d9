"""What a user asks for, in whatever form, checked by EMR's rules."""
