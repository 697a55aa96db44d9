"""One host's server: its folder, its APIs in one process, how it is asked and cleaned up."""
