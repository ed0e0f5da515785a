"""Names of datasets: errors for those that nobody registered."""

import difflib
from collections.abc import Sequence

from ..libraries import catalogs

_MOST_NAMES = 20


def video_datasets() -> list[str]:
    """Names of the registered datasets of videos, the person's own (the latest) first."""
    names = list(reversed(catalogs.DatasetCatalog.list()))
    metadata = catalogs.MetadataCatalog
    return [name for name in names if metadata.get(name).get("evaluator_type") == "vspw"]


def check_registered(names: Sequence[str], key: str) -> None:
    """
    Args:
        names: of datasets.
        key: where they are named, such as "DATASETS.TRAIN".

    Raises:
        KeyError: one is not registered, with the nearest names and those of videos.
    """
    for name in names:
        if name not in catalogs.DatasetCatalog:
            raise KeyError(f"{key}: {unknown_dataset(name)}")


def unknown_dataset(name: str) -> str:
    """What to say of a name that nobody registered: the nearest names, and those of videos."""
    videos = video_datasets()
    near = difflib.get_close_matches(name, videos, n=3)
    near = near or difflib.get_close_matches(name, catalogs.DatasetCatalog.list(), n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    shown = ", ".join(videos[:_MOST_NAMES]) + (", ..." if len(videos) > _MOST_NAMES else "")
    return (
        f'there is no dataset "{name}".{hint} Registered for videos: {shown}. Datasets of '
        "your own are registered by a YAML file in DATASETS.VIDEO_FOLDERS, or by a module in "
        "MODEL.IMPORTS."
    )
