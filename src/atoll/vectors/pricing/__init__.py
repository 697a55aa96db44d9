"""What a collection costs: a quote before, a bill after, at prices kept in one file.

    prices        the prices, and where each is from
    bill          what was counted, priced
    shape         what a collection and its searches look like, as far as cost goes
    ranges        how many requests are left once pieces that lie close are joined
    accesses      what the steps of a search ask of the store
    steps         what each step reads and writes, computes and holds
    searchcost    one search: steps, time, memory, bill
    storedcost    bytes at rest, hours of building
    downloads     from how many queries downloading the buckets is cheaper
    planner       the bucket size for a latency, a budget, a concurrency
    offers        one search of a collection that is there, by each way
    budget        what may be asked of a store
    quote         all of it
    quotetext     the same in words, as `atoll estimate` prints it
    quoteplot     time against k, as a picture

Pure arithmetic: no clock, no network; the only files read are those of the prices and of the rates
that `atoll bench-here` measured.
"""
