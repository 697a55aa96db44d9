"""The instance metadata service, version 2: what an instance may know of itself.

Source: EC2 user guide, "Use IMDSv2". Standard library only: every agent imports this.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping

from atoll.core.errors import NotFound, Unavailable

ENDPOINT = "http://169.254.169.254"
ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""AWS's own name for another endpoint; boto3 heeds it, too."""
TOKEN_SECONDS = 300
ANSWER_SECONDS = 5.0


class Metadata:
    """Asks the service; each question with a token of its own age."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        """Take the environment, for where the service is."""
        self._endpoint = env.get(ENDPOINT_VARIABLE, ENDPOINT).rstrip("/")

    def get(self, path: str) -> str:
        """Return an entry of `latest/meta-data`.

        Raises:
            NotFound: there is no such entry.
            Unavailable: the service does not answer; this is no instance of EC2.
        """
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        token = self._asked("api/token", "PUT", lifetime)
        return self._asked(f"meta-data/{path}", "GET", {"X-aws-ec2-metadata-token": token})

    def _asked(self, path: str, method: str, headers: Mapping[str, str]) -> str:
        url = f"{self._endpoint}/latest/{path}"
        request = urllib.request.Request(url, method=method, headers=dict(headers))
        # Never through a proxy: the service answers the instance itself only.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=ANSWER_SECONDS) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                raise NotFound(f"the instance metadata has no {path}", path=path) from error
            raise Unavailable(f"the metadata service at {url} says {error}", url=url) from error
        except OSError as error:
            raise Unavailable(
                f"the metadata service at {url} does not answer ({error}); is this an instance of "
                "EC2, and is its metadata endpoint enabled?",
                url=url,
            ) from error
