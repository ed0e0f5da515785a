"""Uploading a folder of ``save_pretrained`` to the Hugging Face hub."""

from pathlib import Path

from ..hub_files import HubFileError
from ..libraries import import_library
from ..model_folders import WEIGHTS
from .loading import CONFIG
from .saving import CARD


def push_to_hub(folder: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload the files of ``save_pretrained``, and no others, with the account that is logged in.

    Args:
        folder: that which it wrote.
        repository: "owner/name"; made where it is not there.
        private: of a repository that is made. One that is there stays as it is.

    Returns:
        the address of the commit.

    Raises:
        FileNotFoundError: the folder lacks one of the files.
        HubFileError: nobody is logged in, the hub can't be reached, or it does not permit it.
        ModuleNotFoundError: huggingface_hub is not installed.
    """
    folder = Path(folder)
    lacking = [name for name in (WEIGHTS, CONFIG, CARD) if not (folder / name).is_file()]
    if lacking:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(lacking)}: write it with save_pretrained or cffm publish."
        )
    hub = import_library("huggingface_hub", "Uploading to the hub")
    api = hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=[WEIGHTS, CONFIG, CARD],
            commit_message="Upload model",
        )
    except Exception as error:  # many kinds, some of the libraries below it
        raise HubFileError(
            f"{folder} was not uploaded to {repository} ({type(error).__name__}: {error}). Log in "
            "with an account that may write there, hf auth login or HF_TOKEN, and try again: what "
            "is there already is not sent twice."
        ) from error
    return str(getattr(commit, "commit_url", commit))
