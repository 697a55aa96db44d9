"""The clients of AWS's APIs, as people have them installed: boto3 and the `aws` command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
from botocore.config import Config

AWS = Path(sys.executable).with_name("aws")
KEY, SECRET = "AKIDATOLL", "atolls3cret"
NO_RETRIES = Config(retries={"total_max_attempts": 1})


def boto3_of(url, keys=(KEY, SECRET)):
    """Return what makes clients of services at an address."""
    session = boto3.Session(*keys, region_name="us-east-1")
    return lambda name: session.client(name, endpoint_url=url, config=NO_RETRIES)


def aws_of(url, home, keys=(KEY, SECRET)):
    """Return the `aws` command against an address: its JSON, or its text, or what it failed by."""
    told = {"AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1], "HOME": str(home)}
    env = {**os.environ, **told, "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": ""}
    env.pop("AWS_PROFILE", None)

    def run(*words, cwd=home):
        done = subprocess.run(
            [sys.executable, str(AWS), *words, "--endpoint-url", url],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout[:1] in ("{", "[") else done.stdout

    return run
