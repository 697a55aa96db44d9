"""One search by many processes that share nothing but an object store.

rows      what a bucket answers, and how answers are merged; pure
run       the folder of a search: its request, queries, plan, parts, result
steps     plan, filter, search, fold, refine: each its own process, each may run twice
"""
