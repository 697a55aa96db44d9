"""Messages to people and programs outside: by SMTP, and by HTTP to a webhook."""
