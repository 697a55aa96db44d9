"""Named row filters and column masks of an asset: who may see which cells, decided row by row.

Pure: Arrow in, Arrow out; nothing here reads a store or knows who asks.

Read in this order: `conditions` row filters as trees, in Amazon DataZone's form; `columntypes` and
`literals` what a column can be compared with; `evaluation` which rows pass; `masks` what is left of
a value; `views` asset filters, and what several of them show together; `visible` the table that is
seen through a view.
"""
