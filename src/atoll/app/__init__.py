"""The command line and the public functions: the only place that knows every part."""
