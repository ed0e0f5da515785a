"""Frames as a stream takes them."""

from collections.abc import Hashable, Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

Frame = np.ndarray | Tensor


def check_frame(frame: Frame, stream: Hashable) -> None:
    """
    Args:
        frame: an array (H, W, 3) uint8, or a tensor (3, H, W), see ``StreamingSegmentor.step``.
        stream: which video, for the message.

    Raises:
        ValueError: it is neither, or it has no pixels.
    """
    where = f"Stream {stream}"
    if isinstance(frame, Tensor):
        if frame.dim() != 3 or frame.shape[0] != 3:
            raise ValueError(f"{where}: a frame tensor is (3, H, W), got {tuple(frame.shape)}")
        if frame.dtype in (torch.float64, torch.bool) or frame.is_complex():
            raise ValueError(
                f"{where}: a frame tensor holds 0..255 as uint8 or float32, got {frame.dtype}"
            )
    elif not isinstance(frame, np.ndarray):
        raise ValueError(
            f"{where}: a frame is an array or a tensor, got {type(frame).__name__}"
            + (": OpenCV gives None for an image that it can't read" if frame is None else "")
        )
    elif frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(
            f"{where}: a frame array is (H, W, 3) uint8, blue-green-red, got {frame.shape} "
            f"{frame.dtype}"
        )
    if 0 in frame.shape:
        raise ValueError(f"{where}: a frame has no pixels: {tuple(frame.shape)}")


def check_output_size(size: Sequence[int], stream: Hashable) -> None:
    """
    Raises:
        ValueError: it is no height and width.
    """
    if len(size) != 2 or not all(isinstance(side, Integral) and int(side) > 0 for side in size):
        raise ValueError(
            f"Stream {stream}: output_size is height and width in pixels, got {tuple(size)}"
        )


def size_of_frame(frame: Frame) -> tuple[int, int]:
    """Height and width."""
    height, width = frame.shape[1:] if isinstance(frame, Tensor) else frame.shape[:2]
    return height, width
