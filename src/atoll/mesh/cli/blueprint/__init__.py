"""A mesh as one file: what it should be, what of that it is not yet, and how it gets there.

Read `specs` and `document` for what the file says; `section`, and those listed in `sections`, for
how each part of it is read from a mesh and changed there; `applying` for the difference and the
commands.
"""
