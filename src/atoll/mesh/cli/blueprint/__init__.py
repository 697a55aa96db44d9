"""A mesh as one file: what it should be, what of that it is not yet, and how it gets there.

Read `document` for what the file says, `sections` for how each part of it is read from a mesh and
changed in it, `applying` for the difference and the commands.
"""
