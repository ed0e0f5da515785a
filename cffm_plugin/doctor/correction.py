"""Writing corrected copies of masks into another folder, never into the dataset itself."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..data import DEFAULT_MAX_MEGAPIXELS, IGNORE_LABEL, LabelMapping, path_below
from ..data.image_files import read_mask_of_any_format
from ..files import whole_file
from .findings import Report

_FAULTS = ("mask_unreadable", "mask_incomplete", "mask_size")
_IN_DOUBT = (
    "Nothing that may be a class is erased: say what these values mean, in label_mapping or void."
)


def check_correction_folder(root: str | PathLike, folder: str | PathLike) -> Path:
    """The folder for corrected masks, ``~`` expanded; ValueError if it touches the dataset."""
    path = Path(folder).expanduser()
    dataset, target = Path(root).expanduser().resolve(), path.resolve()
    if target == dataset or dataset in target.parents or target in dataset.parents:
        raise ValueError(
            f"{path}: corrected masks are never written in place. Choose a folder that neither "
            f"lies in the dataset {dataset} nor holds it."
        )
    return path


def write_corrected_masks(
    report: Report,
    folder: str | PathLike,
    *,
    jobs: int = 1,
    progress: bool = False,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> tuple[list[str], dict[str, str]]:
    """Write every mask that can be corrected below ``folder``, as it lies below the report's root.

    16 bits become 8 where all values fit; pictures whose red, green and blue are equal become one
    channel. Values that are of no class for certain (``report.accidental``) become 255. All other
    values, and a palette, stay: what may be a class is never erased.

    Returns:
        the corrected masks, relative to ``folder``, and the masks that were left for another fault,
        such as a size that is not their frame's -> the fault.

    Raises:
        ValueError: ``folder`` is not outside the dataset, a link in it leads out of it, or the
            dataset has changed.
        FileExistsError: a file of another content stands where a mask would go.
    """
    folder = check_correction_folder(report.root, folder)
    left: dict[str, str] = {}
    in_doubt: dict[str, str] = {}
    for finding in report.findings:
        if finding.kind in _FAULTS and not finding.correctable:
            left |= dict.fromkeys(finding.files, finding.detail)
        if finding.kind == "mask_foreign_values" and not finding.correctable:
            in_doubt |= dict.fromkeys(finding.files, f"{finding.detail} {_IN_DOUBT}")
    faulty = {name for finding in report.findings if finding.correctable for name in finding.files}
    masks = sorted(faulty - left.keys())
    root, mapping = Path(report.root), report.label_mapping
    write = partial(_write_corrected, root, folder, mapping, report.accidental, max_megapixels)
    with ProcessPoolExecutor(jobs) as pool:
        results = (map if jobs == 1 else pool.map)(write, masks)
        doubtful = dict(zip(masks, tqdm(results, "masks", len(masks), disable=not progress)))
    kept = {
        name: f"its values {v} may be classes. {_IN_DOUBT}" for name, v in doubtful.items() if v
    }
    return [name for name in masks if name not in kept], left | in_doubt | kept


def _write_corrected(
    root: Path,
    folder: Path,
    mapping: LabelMapping,
    accidental: Sequence[int],
    max_megapixels: float,
    name: str,
) -> list[int]:
    """Write the corrected copy of a mask, unless it is there already.

    Returns:
        its values that may be of a class and of which nobody has said so; then nothing is written.
    """
    values, palette = read_mask_of_any_format(root / name, max_megapixels)
    if doubtful := sorted(set(mapping.foreign_values(values)) - set(accidental)):
        return doubtful
    values[np.isin(values, accidental)] = IGNORE_LABEL
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette + [0] * (3 * 256 - len(palette)))  # so that 255 fits
    content = BytesIO()
    image.save(content, "PNG")
    path = path_below(folder, name)
    if not path.exists():
        with whole_file(path, durable=False) as partial:
            partial.write_bytes(content.getvalue())
    elif path.read_bytes() != content.getvalue():
        raise FileExistsError(
            f"{path} is there already and is not what would be written. Nothing is overwritten: "
            "choose an empty folder."
        )
    return []
