"""The audit record: who did, or tried, what, in a chain that nobody can change unseen.

Read `model`, `chain`, `verify`; then `anchors` and `export`, which carry the chain outside the
database, and `access`, which answers from it who may read an asset.
"""
