"""AWS's own APIs over this host's fleet: EMR, CloudFormation, CloudWatch, as `wire` services.

Read in this order: `account` the names AWS gives to things, `values` and `paging` what all share;
`emr` joins `emr_reads`, `emr_changes` and their views; `cloudformation` over `stacks` and
`stackstore`; `cloudwatch` joins `metricreads` and `alarmcalls`; `services` has all.
"""
