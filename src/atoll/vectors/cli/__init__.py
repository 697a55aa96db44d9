"""The command line of collections: thin edges that call the service."""
