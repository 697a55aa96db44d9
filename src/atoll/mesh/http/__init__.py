"""The HTTP door: a route for each operation, and the OpenAPI document that says so."""
