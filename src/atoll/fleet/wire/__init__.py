"""Servers that speak AWS's protocols, driven by botocore's service models.

Nothing here is written per operation, and nothing here knows a cluster: a `Service` joins the name
of a model with one handler an operation, `serve` puts several of them at one address.

Read in this order: `message` the nouns, `service` the joint to what a service means, `gateway` what
becomes of a request, `protocol` what a protocol must do; `jsonrpc`, `cborrpc`, `query` do it, from
`tree`, `cbor`, `xml`, `instants`; `conform` holds values against shapes, `signature` checks SigV4,
`connection` and `server` are the sockets.
"""
