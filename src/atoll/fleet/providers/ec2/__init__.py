"""Amazon EC2 as a provider, through boto3.

Reading order: `api` (errors), `tags`, `machines`, `addresses`, `primaries`, `fleets`, `provider`.
What instances run: `userdata`, `boot.sh`, `boot`. What the account must allow: `security`,
`policy`.
"""
