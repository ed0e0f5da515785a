"""Writing corrected copies of masks into another folder, never into the dataset itself."""

import io
import os
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..data.images import IGNORE_LABEL, LabelMapping
from .findings import Finding, Kind, Report
from .inspection import Inspection, inspect
from .parallel import map_in_processes

_LARGEST = 255

# Faults of masks that are there and are read; correctable or not.
_OF_MASK_FILES = {
    Kind.MASK_EMPTY,
    Kind.MASK_DAMAGED,
    Kind.MASK_NOT_AN_IMAGE,
    Kind.MASK_UNREADABLE,
    Kind.MASK_COLOUR,
    Kind.MASK_16_BIT,
    Kind.MASK_SIZE,
}


@dataclass(frozen=True)
class Corrections:
    """What ``write_corrected_masks`` did.

    Attributes:
        folder: where the corrected masks are.
        written: those written now or already there, relative to ``folder`` and to the dataset.
        left: masks with a fault that could not be corrected -> the faults.
    """

    folder: Path
    written: tuple[str, ...]
    left: dict[str, str]


def check_correction_folder(root: str | PathLike, folder: str | PathLike) -> Path:
    """The folder as a path, ``~`` expanded.

    Raises:
        ValueError: it is a file, or corrected masks in it could land in the dataset.
    """
    path = Path(folder).expanduser()
    dataset, target = Path(root).expanduser().resolve(), path.resolve()
    if target == dataset or dataset in target.parents or target in dataset.parents:
        raise ValueError(
            f"{path}: corrected masks are never written in place. Choose a folder that neither "
            f"lies in the dataset {dataset} nor holds it."
        )
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; choose a folder for the corrected masks.")
    return path


def write_corrected_masks(
    report: Report, folder: str | PathLike, *, jobs: int = 1, progress: bool = False
) -> Corrections:
    """Write ``<folder>/data/<video>/mask/<frame>.png`` for every mask that can be corrected.

    Values that stand for no class become 255; 16 bits become 8 where all values fit; pictures whose
    red, green and blue are equal become one channel. All other values, and a palette, stay. A mask
    with a fault besides that can't be corrected, such as a size that is not its frame's, is left.

    Args:
        report: of ``check_dataset``, whose dataset has not changed since.
        folder: outside the dataset. Files in it are never overwritten.
        jobs: processes.
        progress: show a bar.

    Raises:
        ValueError: ``folder`` is not outside the dataset, or the dataset has changed.
        FileExistsError: a file of another content stands where a mask would go.
    """
    folder = check_correction_folder(report.root, folder)
    left = _masks_to_leave(report.findings)
    faulty = {name for finding in report.findings if finding.correctable for name in finding.files}
    masks = sorted(faulty - left.keys())
    mapping = LabelMapping.shifted_by_one(report.num_classes)
    write = partial(_write_corrected, Path(report.root), folder, mapping)
    results = map_in_processes(write, masks, jobs)
    for _ in tqdm(results, "masks", len(masks), unit="mask", disable=not progress):
        pass
    return Corrections(folder, tuple(masks), left)


def one_channel(mask: Inspection) -> np.ndarray:
    """The class numbers that a decoded mask holds, (H, W) uint8, whatever its format.

    Raises:
        ValueError: with the reason why they can't be had for certain.
    """
    image = mask.image
    assert image is not None  # only decoded masks come here
    if image.mode in ("L", "P", "1"):
        return np.array(image, dtype=np.uint8)
    if image.format != "PNG":
        raise ValueError(f"{image.format} may have changed the values")
    if image.mode.startswith("I"):
        values = np.array(image)
        if values.min() < 0 or values.max() > _LARGEST:
            raise ValueError(f"values up to {values.max()} do not fit 8 bits")
        return values.astype(np.uint8)
    if mask.bit_depth > 8 or image.mode not in ("RGB", "RGBA", "LA"):
        raise ValueError("more than 8 bits per channel")
    *colours, last = np.moveaxis(np.array(image), -1, 0)
    if image.mode == "RGB":
        colours.append(last)
    elif (last != _LARGEST).any():
        raise ValueError("partly transparent")
    if any((colour != colours[0]).any() for colour in colours[1:]):
        raise ValueError("red, green and blue differ")
    return colours[0]


def _masks_to_leave(findings: tuple[Finding, ...]) -> dict[str, str]:
    """Mask -> its faults that can't be corrected."""
    left: dict[str, str] = {}
    for finding in findings:
        if finding.kind in _OF_MASK_FILES and not finding.correctable:
            fault = f"{finding.kind.title}: {finding.detail}"
            for name in finding.files:
                left[name] = f"{left[name]}; {fault}" if name in left else fault
    return left


def _write_corrected(root: Path, folder: Path, mapping: LabelMapping, name: str) -> None:
    """Write the corrected copy of a mask, unless it is there already."""
    mask = inspect(root / name, is_mask=True)
    if mask.image is None:
        raise ValueError(f"{root / name} has changed since it was checked. Check again.")
    values = one_channel(mask)
    values[np.isin(values, mapping.foreign_values(values))] = IGNORE_LABEL
    content = _as_png(values, mask.image.getpalette() if mask.image.mode == "P" else None)
    path = folder / name
    if path.exists():
        if path.read_bytes() != content:
            raise FileExistsError(
                f"{path} is there already and is not what would be written. Nothing is "
                "overwritten: choose an empty folder."
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def _as_png(values: np.ndarray, palette: list[int] | None) -> bytes:
    """An 8-bit PNG with one channel; with a palette, one of 256 colours, so that 255 fits."""
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette + [0] * (3 * 256 - len(palette)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
