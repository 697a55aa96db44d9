import pytest
from ec2_cloud import account, provider, subnet

from atoll.testing.provider_contract import ADDRESSES, SUBNETS, ProviderContract


class TestEc2(ProviderContract):
    # EC2 compares no epochs, and tells nobody which hardware a machine stands on.
    fences = False
    spreads = False

    @pytest.fixture
    def provider(self):
        with account() as (client, _):
            subnet(client, free=ADDRESSES, name=SUBNETS[0])
            subnet(client, name=SUBNETS[1], number=2)
            yield provider()
