"""Which videos are read and where each goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.datasets.records import natural_order, visible_files
from .reading import IMAGE_SUFFIXES, FrameSource, NetworkStream
from .writing import VIDEO_SUFFIXES, LabelMapFolder, PictureFolder, PictureSink, VideoWriter

# What is taken of a folder. A file that is named may have any suffix.
VIDEO_INPUT_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".ogv"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
)


@dataclass(frozen=True)
class VideoJob:
    """A video to segment.

    Attributes:
        video: file or address.
        output, masks: where pictures and label maps go; None for nowhere.
    """

    video: str
    output: str | None
    masks: str | None


def plan_jobs(inputs: Sequence[str], output: str | None, masks: str | None) -> list[VideoJob]:
    """One job for every video.

    A video by itself goes to ``output`` and ``masks``. Several, or a folder of them, go to
    ``<output>/<name>.mp4`` (.mkv, where the video is one) and ``<masks>/<name>``.

    Args:
        inputs: files, addresses, and folders, whose videos are taken in natural order.

    Raises:
        FileNotFoundError: a file is not there, or a folder has no videos.
        ValueError: with several videos: two have one name, an output is no folder or is what is
            read, or there is none.
    """
    is_folder = [not NetworkStream.is_url(given) and _path(given).is_dir() for given in inputs]
    if len(inputs) == 1 and not is_folder[0]:
        return [VideoJob(inputs[0], output, masks)]
    videos = [
        video
        for given, folder in zip(inputs, is_folder)
        for video in (_videos_in(_path(given)) if folder else [given])
    ]
    for video in videos:
        if not NetworkStream.is_url(video) and not _path(video).is_file():
            raise FileNotFoundError(f"{_path(video).resolve()}: there is no such file.")
    return _jobs_in_folders(videos, output, masks)


def plan_batch(inputs: Sequence[str], output: str | None, masks: str | None) -> list[VideoJob]:
    """One job for every video, as ``plan_jobs`` names them; a video may be a folder of images too.

    Args:
        inputs: video files; folders of video files, folders of images, each a video, and folders of
            such folders; and text files (.txt), a path per line, relative to the file.

    Raises:
        FileNotFoundError: a file is not there, or a folder or list holds no video. The error names
            list and line.
        ValueError: two videos have one name, an output is no folder or is what is read, or there
            is none.
    """
    return _jobs_in_folders([v for given in inputs for v in _videos_of(given)], output, masks)


def _videos_of(given: str) -> list[str]:
    path = _path(given)
    if path.is_dir():
        if visible_files(path, VIDEO_INPUT_SUFFIXES):
            return _videos_in(path)
        below = [folder for folder in path.iterdir() if folder.is_dir()]
        folders = [path, *sorted(below, key=lambda folder: natural_order(folder.name))]
        found = [str(folder) for folder in folders if visible_files(folder, IMAGE_SUFFIXES)]
        if not found:
            raise FileNotFoundError(
                f"{path}: there are no videos ({', '.join(VIDEO_INPUT_SUFFIXES)}) and no images "
                f"({', '.join(IMAGE_SUFFIXES)}), in it or in the folders in it."
            )
        return found
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file or folder.")
    if path.suffix.lower() != ".txt":
        return [str(path)]
    return _videos_of_list(path)


def _videos_of_list(path: Path) -> list[str]:
    videos = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        video = path.parent / _path(line.strip())
        if not video.exists():
            raise FileNotFoundError(f"{path}, line {number}: {video}: there is no such video.")
        videos.append(str(video))
    if not videos:
        raise FileNotFoundError(f"{path}: the list is empty, expected a path of a video per line.")
    return videos


def _jobs_in_folders(
    videos: Sequence[str], output: str | None, masks: str | None
) -> list[VideoJob]:
    """Several videos, each into a file or folder of its name."""
    files = {_path(v).resolve() for v in videos if not NetworkStream.is_url(v)}
    if not (output or masks):
        raise ValueError("Several videos need a folder to go to: --output or --masks.")
    for target in filter(None, (output, masks)):
        path = _path(target)
        is_video = path.suffix.lower() in VIDEO_SUFFIXES and not target.endswith("/")
        if not path.is_dir() and (path.exists() or is_video):
            raise ValueError(f"{target}: several videos go into a folder, and this is a file.")
    jobs: dict[str, VideoJob] = {}
    for video in videos:
        name = Path(video.split("?")[0])
        is_folder = not NetworkStream.is_url(video) and _path(video).is_dir()
        stem = name.resolve().name if is_folder else name.stem
        suffix = "" if is_folder else name.suffix.lower()
        written = f"{stem}{suffix if suffix in VIDEO_SUFFIXES else VIDEO_SUFFIXES[0]}"
        job = VideoJob(video, output and str(_path(output, written)), masks and f"{masks}/{stem}")
        other = jobs.setdefault(stem.lower(), job)
        if other is not job:
            raise ValueError(f"{other.video} and {video} have the same name: {stem}.")
        for written_to in filter(None, (job.output, job.masks)):
            if Path(written_to).expanduser().resolve() in files:
                raise ValueError(f"{written_to} is what is read: name another output.")
    return list(jobs.values())


def check_overwrites(
    source: FrameSource, pictures: PictureSink | None, label_maps: LabelMapFolder | None
) -> None:
    """Refuse to write over what is read, or label maps over pictures.

    Raises:
        ValueError: an output is an input, or both outputs are one folder.
    """
    read = {file.resolve() for file in source.files}
    image_folders = {file.parent for file in read if file.suffix.lower() in IMAGE_SUFFIXES}
    outputs = [s for s in (pictures, label_maps) if isinstance(s, VideoWriter | PictureFolder)]
    for output in outputs:
        if output.path.resolve() in (read if isinstance(output, VideoWriter) else image_folders):
            raise ValueError(f"{output.path} is what is read: name another output.")
    if len({output.path.resolve() for output in outputs}) < len(outputs):
        raise ValueError(f"{outputs[0].path}: pictures and label maps need a folder each.")


def _path(given: str, *more: str) -> Path:
    return Path(given, *more).expanduser()


def _videos_in(folder: Path) -> list[str]:
    names = sorted(visible_files(folder, VIDEO_INPUT_SUFFIXES), key=natural_order)
    if not names:
        raise FileNotFoundError(
            f"{folder}: there are no videos ({', '.join(VIDEO_INPUT_SUFFIXES)})."
        )
    return [str(folder / name) for name in names]
