"""In place of the Hugging Face hub: folders of this machine."""

from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors


class StubHub:
    """Repositories are folders, OWNER/NAME below ``root``, and their branches @BRANCH beside them.

    Attributes:
        asked: (repository, file, revision) of every download.
        failure: raised at every download, as if the hub were so.
    """

    def __init__(self, root: Path):
        self.root = root
        self.asked = []
        self.failure = None

    def download(self, repo_id, filename, *, revision=None):
        self.asked.append((repo_id, filename, revision))
        if self.failure is not None:
            raise self.failure
        folder = self.root / (f"{repo_id}@{revision}" if revision else repo_id)
        if not (self.root / repo_id).is_dir():
            raise http_error(errors.RepositoryNotFoundError, 404)
        if not folder.is_dir():
            raise http_error(errors.RevisionNotFoundError, 404)
        if not (folder / filename).is_file():
            raise http_error(errors.RemoteEntryNotFoundError, 404)
        return str(folder / filename)


def http_error(kind, status):
    response = SimpleNamespace(headers={}, request=None, status_code=status)
    return kind(f"{status}: what the hub says", response=response)


@pytest.fixture
def stub_hub(tmp_path, monkeypatch):
    """A StubHub in place of huggingface_hub's downloads."""
    hub = StubHub(tmp_path / "stub_hub")
    hub.root.mkdir()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    return hub
