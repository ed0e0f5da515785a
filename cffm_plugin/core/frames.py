"""Frames as a stream takes them: arrays and tensors, made alike."""

import warnings
from collections.abc import Callable, Hashable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

Frame = Any  # an array (H, W, 3) uint8, or a tensor (3, H, W)
Resize = Callable[[Any], Any]  # of arrays (H, W, 3)
CHANNEL_ORDERS = ("RGB", "BGR")


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
    elif not hasattr(frame, "__array_interface__") or not hasattr(frame, "shape"):
        hint = ": OpenCV gives None for an image that it can't read" if frame is None else ""
        if hasattr(frame, "convert"):
            hint = ', an image of Pillow: numpy.asarray(image.convert("RGB")) is the array'
        raise ValueError(
            f"{where}: a frame is an array or a tensor, got {type(frame).__name__}{hint}"
        )
    elif len(frame.shape) != 3 or frame.shape[2] != 3 or str(frame.dtype) != "uint8":
        raise ValueError(
            f"{where}: a frame array is (H, W, 3) uint8, RGB unless channel_order says BGR, got "
            f"{frame.shape} {frame.dtype}"
        )
    if 0 in frame.shape:
        raise ValueError(f"{where}: a frame has no pixels: {tuple(frame.shape)}")
    if isinstance(frame, Tensor):
        warn_of_range(frame)


def warn_of_range(frames: Tensor) -> None:
    """Warn, once a place, of floating values that look as if they were 0..1, not 0..255."""
    if frames.is_floating_point() and frames.numel() and 0 < frames.detach().max() <= 1:
        warnings.warn(
            "Frames hold values of at most 1, and are taken as 0..255: nearly black. Where they "
            "are 0..1, multiply them by 255.",
            stacklevel=3,
        )


def check_channel_order(order: str, argument: str) -> None:
    """
    Raises:
        ValueError: it is none; the error names the argument.
    """
    if order not in CHANNEL_ORDERS:
        raise ValueError(f'{argument} is "RGB" or "BGR", got {order!r}')


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


def frame_to_tensor(frame: Frame, *, reverse: bool, resize: Resize | None = None) -> Tensor:
    """A frame as a model takes it, (3, H, W). An array and a tensor of one frame give one result.

    Args:
        frame: that ``check_frame`` has passed.
        reverse: whether the model takes the channels in the other order.
        resize: takes and gives arrays (H, W, 3).
    """
    if resize is not None:
        frame = resize(_to_array(frame))
    if not isinstance(frame, Tensor):
        if any(stride < 0 for stride in frame.strides):  # a view such as frame[..., ::-1]
            frame = frame.copy()
        frame = torch.from_numpy(frame).permute(2, 0, 1)
    return (frame.flip(0) if reverse else frame).contiguous()


def _to_array(frame: Frame) -> Any:
    """(H, W, 3); uint8 where it holds whole numbers, as images do."""
    if not isinstance(frame, Tensor):
        return frame
    if frame.is_floating_point() and bool((frame == frame.round()).all()):
        frame = frame.clamp(0, 255).to(torch.uint8)
    return frame.permute(1, 2, 0).contiguous().cpu().numpy()
