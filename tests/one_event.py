"""AWS's runtime client, awslambdaric, for one event: `python one_event.py module.handler`.

ministack gives the event that it has for a process to whoever asks, so also to the same process
again while it is being ended; the handler would start a second time.
"""

import signal
import sys

from awslambdaric.__main__ import main
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

wait_next_invocation = LambdaRuntimeClient.wait_next_invocation
asked = []


def next_or_never(self):
    if asked:
        signal.pause()
    asked.append(True)
    return wait_next_invocation(self)


if __name__ == "__main__":
    LambdaRuntimeClient.wait_next_invocation = next_or_never
    main(sys.argv)
