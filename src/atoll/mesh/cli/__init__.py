"""`atoll mesh`: every operation as a command, over HTTP like everybody else."""
