"""Names that AWS gives to things: ARNs of an account that is this host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """Whose things they are.

    Attributes:
        region: of EC2; a local provider's is made up.
        id: twelve digits.
    """

    region: str = "us-east-1"
    id: str = "000000000000"

    def cluster_arn(self, cluster_id: str) -> str:
        """Return a cluster's ARN."""
        return f"arn:aws:elasticmapreduce:{self.region}:{self.id}:cluster/{cluster_id}"

    def stack_arn(self, name: str, unique: str) -> str:
        """Return a stack's ARN, which is its id; `unique` tells stacks of one name apart."""
        return f"arn:aws:cloudformation:{self.region}:{self.id}:stack/{name}/{unique}"

    def alarm_arn(self, name: str) -> str:
        """Return an alarm's ARN."""
        return f"arn:aws:cloudwatch:{self.region}:{self.id}:alarm:{name}"
