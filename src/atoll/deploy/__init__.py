"""What runs searches where nothing runs in between: a template for AWS."""
