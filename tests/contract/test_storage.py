import uuid

import pytest

from atoll.storage import open_storage
from atoll.testing.storage_contract import EmulatorContract, StorageContract


class TestMemory(StorageContract):
    is_shared = False

    def make(self):
        return open_storage(f"memory://{uuid.uuid4().hex}/folder")


class TestLocalFolder(StorageContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path_factory):
        self.folder = tmp_path_factory.mktemp("store") / "not yet there, 100%25"

    def make(self):
        return open_storage(self.folder)


# No judge of races: it looks first and writes afterwards, so that two creators may both win.
class TestMoto(EmulatorContract):
    @pytest.fixture(autouse=True)
    def _server(self, moto_s3):
        self.server = moto_s3

    def make(self):
        return open_storage(f"{self.server.new_bucket()}/a folder/ü", self.server.options())


@pytest.mark.ceph
class TestCeph(StorageContract):
    @pytest.fixture(autouse=True)
    def _server(self, ceph):
        self.server = ceph

    def make(self):
        return open_storage(f"{self.server.new_bucket()}/a folder/ü", self.server.options())
