"""Who somebody is: values in, records out, nothing of the database.

Reading order: secret (random text, and what of it is stored), passwords (local users), tokens
(machines), logins (a machine's one-time way into the portal), sessions (browsers). Sign-in at a
company's own provider: provider (how it is configured, what it says of itself), pending (to the
provider and back), idtoken (what it signed), person (who that is), oidc (all of it, over fetching
and remembered). Times are aware datetimes that the caller hands in; records are the caller's to
store.
"""
