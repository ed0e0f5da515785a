"""Files of the Hugging Face hub by name, wherever detectron2's PathManager takes a path.

``hf://owner/repository/file@revision``: without a file it is model.safetensors, without a revision
the main branch. huggingface_hub fetches a file once and keeps it in its cache. What comes is a
stranger's: it is only ever read by readers that run no code.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import needs_detectron2  # noqa: F401  (says how to get it)

# isort: split
from detectron2.utils.file_io import PathHandler, PathManager

from .libraries import import_library
from .model_folders import WEIGHTS

PREFIX = "hf://"
_NAME = re.compile(r"[\w.-]+")  # of owners and repositories


class HubFileError(OSError):
    """A file of the hub can't be had. The message names the repository and the file."""


@dataclass(frozen=True)
class HubFile:
    """A file on the hub.

    Attributes:
        repository: "owner/name".
        file: its path in the repository.
        revision: a branch, a tag or a commit; None for the main branch.
    """

    repository: str
    file: str = WEIGHTS
    revision: str | None = None

    @classmethod
    def from_path(cls, path: str) -> "HubFile":
        """
        Raises:
            ValueError: it is not written as hf://owner/repository/file@revision.
        """
        plain, _, revision = path.removeprefix(PREFIX).partition("@")
        owner, _, rest = plain.partition("/")
        name, _, file = rest.partition("/")
        well_formed = path.startswith(PREFIX) and all(map(_NAME.fullmatch, (owner, name)))
        folders = file.split("/") if file else []
        if not well_formed or ".." in folders or "" in folders or path.endswith("@"):
            raise ValueError(
                f"{path}: expected hf://owner/repository/file, or with a branch, tag or commit "
                "hf://owner/repository/file@revision"
            )
        return cls(f"{owner}/{name}", file or WEIGHTS, revision or None)

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repository}/{self.file}{at}"

    def fetch(self) -> str:
        """The file on this machine: from the cache, or else from the hub.

        Raises:
            HubFileError: there is no such repository, revision or file, or it is not for this
                user, or the hub can't be reached.
            ModuleNotFoundError: huggingface_hub is not installed.
        """
        hub = import_library("huggingface_hub", f"Fetching {self}")
        errors = import_library("huggingface_hub.errors", f"Fetching {self}")
        try:
            return hub.hf_hub_download(self.repository, self.file, revision=self.revision)
        except Exception as error:  # many kinds, some of the libraries below it
            said = self._reason(error, errors)
            if said is None:
                raise
            raise HubFileError(f"{self} can't be had: {said}") from error

    def _reason(self, error: Exception, errors: Any) -> str | None:
        revision = self.revision or "main"
        if isinstance(error, errors.GatedRepoError):
            return (
                f"{self.repository} is not open to everybody, and not to you. Accept its "
                "conditions on its page of the hub, and log in: hf auth login, or HF_TOKEN."
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"there is no repository {self.repository}, or it is private. Correct the name, or "
                "log in: hf auth login, or HF_TOKEN."
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"{self.repository} has no branch, tag or commit {revision}."
        if isinstance(error, errors.LocalEntryNotFoundError):
            return self._offline()
        if isinstance(error, errors.EntryNotFoundError):
            return f"{self.repository} has no file {self.file} at {revision}."
        if isinstance(error, errors.HFValidationError):
            return str(error)
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            return (
                f"the hub does not permit it ({error}). Log in with an account that may read "
                f"{self.repository}: hf auth login, or HF_TOKEN."
            )
        if _is_of_the_network(error):
            return f"{self._offline()} ({error})"
        return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else None

    def _offline(self) -> str:
        return (
            "the hub can't be reached from here, and the file is not in the cache. Fetch it where "
            f"there is a network, hf download {self.repository} {self.file} --local-dir FOLDER, "
            "and name the copy."
        )


class HuggingFaceHandler(PathHandler):
    """What iopath asks of a handler of hf:// paths. They can be read, not written."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        return HubFile.from_path(path).fetch()

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> Any:
        if set(mode) & set("wax+"):
            raise OSError(f"{path} can't be written; cffm publish uploads to the hub")
        return open(self._get_local_path(path), mode, buffering)


def is_on_hub(path: str | os.PathLike) -> bool:
    return isinstance(path, str) and path.startswith(PREFIX)


def fetch_model_folder(path: str) -> Path:
    """A file of the hub; or, where the path names a repository alone, the folder of its model.

    The folder holds what there is of model.safetensors, pytorch_model.bin, config.json and
    preprocessor_config.json: weights in one of the first two.

    Raises:
        HubFileError, ValueError: see ``HubFile``.
    """
    named = HubFile.from_path(path)
    if named.file != WEIGHTS or f"/{WEIGHTS}" in path:
        return Path(named.fetch())
    try:
        weights = named.fetch()
    except HubFileError as error:
        try:
            weights = HubFile(named.repository, "pytorch_model.bin", named.revision).fetch()
        except HubFileError:
            raise error from None
    for name in ("config.json", "preprocessor_config.json"):
        try:
            HubFile(named.repository, name, named.revision).fetch()
        except HubFileError:  # nothing is known of the model then
            continue
    return Path(weights).parent


def register_hub_paths() -> None:
    """Teach detectron2's PathManager hf:// paths, unless another project has."""
    try:
        PathManager.register_handler(HuggingFaceHandler(), allow_override=False)
    except KeyError:
        return


def _is_of_the_network(error: BaseException) -> bool:
    """Of connections: those of httpx or of requests, by the version of huggingface_hub."""
    is_builtin_error = isinstance(error, ConnectionError | TimeoutError)
    return is_builtin_error or type(error).__module__.startswith(("httpx", "requests"))
