"""Label maps as mask classification sees them."""

from torch import Tensor


def labelled_frames(labels: Tensor, ignore_value: int) -> tuple[list[int], float]:
    """The frames of (N, H, W) that are not void throughout, and what their losses count: 1; or all
    frames, and 0."""
    is_labelled = (labels != ignore_value).flatten(1).any(dim=1).tolist()
    frames = [n for n, labelled in enumerate(is_labelled) if labelled]
    return (frames, 1.0) if frames else (list(range(len(labels))), 0.0)


def masks_of_classes(labels: Tensor, ignore_value: int) -> tuple[Tensor, Tensor]:
    """A label map as mask classification sees it.

    Args:
        labels: (H, W) int64.
        ignore_value: of pixels without a class, which are in no mask.

    Returns:
        the M classes that are there, (M,) int64; and their masks, (M, H, W) bool.
    """
    classes = labels.unique()
    classes = classes[classes != ignore_value]
    return classes, labels[None] == classes[:, None, None]
