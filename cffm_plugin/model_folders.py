"""Where a model is: a folder, or a name on the Hugging Face hub."""

import re
from pathlib import Path

WEIGHTS = "model.safetensors"
_ON_THE_HUB = re.compile(r"(hf://)?[\w.-]+/[\w.-]+(@\S+)?")


def check_source(source: str) -> Path | None:
    """A folder of a model with its weights, of ``save_pretrained`` or ``cffm publish``; None for
    what may be a name on the hub.

    Raises:
        FileNotFoundError: there is no such folder, nor can it be a name; or it holds no weights.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {WEIGHTS}. It is a folder that save_pretrained, or cffm "
                "publish, wrote?"
            )
        return folder
    if not _ON_THE_HUB.fullmatch(source):
        raise FileNotFoundError(
            f"{source}: there is no such folder, and it is no name on the hub: owner/repository, "
            "or owner/repository@revision"
        )
    return None
