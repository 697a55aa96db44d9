"""Who may do what: Cedar policies that people can read, in the files of this folder."""
