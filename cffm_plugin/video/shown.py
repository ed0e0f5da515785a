"""What of a file a player shows: which of its video streams, which way up and in which colours."""

import logging
from fractions import Fraction
from typing import Any

import numpy as np

from ..libraries import OptionalLibrary

VIDEO_FILES = "Reading and writing video files"  # what needs PyAV

av = OptionalLibrary("av", VIDEO_FILES)

# Of streams that don't tell how many frames they have, these are covers and thumbnails.
_PICTURE_CODECS = {"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000"}
_PLAYLISTS = {"hls", "dash"}  # formats whose streams are downloads of their own

# FFmpeg's numbers, which are those of ITU-T H.273.
_RGB, _BT709, _UNSTATED, _BT2020 = 0, 1, 2, 9
_HDR_CURVES = {16: "PQ", 18: "HLG"}
_WIDE_PRIMARIES = {_BT2020: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_HD_FROM = 720  # lines, from which players take BT.709 where nothing is stated

logger = logging.getLogger(__name__)


def shown_stream(container: Any) -> Any:
    """The video stream that a player shows; None without one.

    Covers and thumbnails are never it, where there is another. Of the others, it is one that is
    marked as the default, and of these the one of the most pixels (and bits, of a playlist).
    """
    flags = av.stream.Disposition
    cover = flags.attached_pic | flags.timed_thumbnails

    def rank(stream: Any) -> tuple[bool, bool, bool, int, int]:
        is_picture = stream.codec_context.name in _PICTURE_CODECS
        moves = stream.frames > 1 or (stream.frames == 0 and not is_picture)
        area = (stream.width or 0) * (stream.height or 0)
        is_default = bool(stream.disposition & flags.default)
        bits = int(stream.metadata.get("variant_bitrate", 0))
        return not stream.disposition & cover, moves, is_default, area, bits

    known = [stream for stream in container.streams.video if stream.codec_context is not None]
    return max(known, key=rank, default=None)  # the first of equal ones


def read_only(container: Any, stream: Any) -> None:
    """Of a playlist, download one stream and no other variant."""
    if container.format.name.split(",")[0] in _PLAYLISTS:
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all


class FrameConverter:
    """Makes pictures of one stream's decoded frames: upright, in the colours of BT.709.

    Ordinary video stays as it is. HDR (PQ, HLG) and wide gamuts (BT.2020, P3) are mapped, which the
    log says once: models are trained on ordinary pictures.

    Args:
        stream: of PyAV, of which nothing was decoded yet: what its container says of colours holds
            where the coded video itself says nothing.
        name: for logs and errors.
        map_colors: False leaves HDR and wide gamuts as their numbers are.
    """

    def __init__(self, stream: Any, name: str, *, map_colors: bool = True):
        context = stream.codec_context
        self._stated = (
            *(context.colorspace, context.color_primaries, context.color_trc, context.color_range),
        )
        self._pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
        self._name, self._map_colors = name, map_colors
        # Both keep their tables.
        self._reformatter, self._mapper = (av.video.reformatter.VideoReformatter() for _ in "12")
        self._said: set[str] = set()

    def __call__(self, frame: Any) -> tuple[np.ndarray, Fraction]:
        """
        Returns:
            (H, W, 3) uint8, blue-green-red; and how wide its pixels are for their height.

        Raises:
            ValueError: its colours are coded in a way that can't be converted.
        """
        self._complete(frame)
        self._say_what_is_kept(frame)
        image = self._to_bgr(frame)
        transposed, rows, columns = orientation(frame)
        if transposed:
            image = image.transpose(1, 0, 2)
        aspect = 1 / self._pixel_aspect if transposed else self._pixel_aspect
        return np.ascontiguousarray(image[::rows, ::columns]), aspect

    def _complete(self, frame: Any) -> None:
        """What the container says of colours (decoders of HEVC, VP9 and ProRes forget it).

        Where nothing is said, HDR's curves stand for the matrix and primaries of ITU-R BT.2100.
        """
        matrix, primaries, curve, color_range = self._stated
        if frame.colorspace == _UNSTATED and matrix not in (_UNSTATED, _RGB):
            frame.colorspace = matrix
            frame.color_range = color_range or frame.color_range
        if frame.color_primaries == _UNSTATED:
            frame.color_primaries = primaries
        if frame.color_trc == _UNSTATED:
            frame.color_trc = curve
        if frame.color_trc in _HDR_CURVES:
            if frame.color_primaries == _UNSTATED:
                frame.color_primaries = _BT2020
            if frame.colorspace == _UNSTATED and not frame.format.is_rgb:
                frame.colorspace = _BT2020

    def _to_bgr(self, frame: Any) -> np.ndarray:
        curve = _HDR_CURVES.get(frame.color_trc)
        primaries = _WIDE_PRIMARIES.get(frame.color_primaries)
        try:
            if self._map_colors and (curve or primaries):
                kind = " in ".join(filter(None, (curve and f"HDR ({curve})", primaries)))
                self._say_once("%s is mapped to BT.709's colours (not with --raw-colors)", kind)
                return self._mapped(frame, is_hdr=curve is not None)
            return self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        except OSError as error:
            raise ValueError(
                f"{self._name}: the colours of its frames (matrix {frame.colorspace}, primaries "
                f"{frame.color_primaries}, curve {frame.color_trc} of ITU-T H.273) can't be "
                f"converted ({error.strerror}). Make ordinary ones first: ffmpeg -i INPUT -vf "
                "zscale=matrix=709:transfer=709:primaries=709,format=yuv420p OUTPUT.mp4"
            ) from error

    def _mapped(self, frame: Any, *, is_hdr: bool) -> np.ndarray:
        """White of 203 cd/m2 (ITU-R BT.2408) becomes white; what is brighter is cut off.

        The frame in between has lost the brightness of the display that the video was made on,
        to which FFmpeg would stretch white: a film of 1000 cd/m2 would be dark.
        """
        deep = self._reformatter.reformat(frame, format="rgb48le").to_ndarray()
        bare = av.VideoFrame.from_ndarray(deep, format="rgb48le")
        bare.color_primaries, bare.color_trc = frame.color_primaries, frame.color_trc
        target = {"dst_color_primaries": _BT709}
        if is_hdr:  # else the curve stays as it is
            target["dst_color_trc"] = _BT709
        return self._mapper.reformat(bare, format="bgr24", **target).to_ndarray()

    def _say_what_is_kept(self, frame: Any) -> None:
        if frame.interlaced_frame:
            self._say_once("interlaced: %s", "both fields stay in a frame, as comb lines")
        if frame.colorspace == _UNSTATED and not frame.format.is_rgb and self._is_hd(frame):
            self._say_once("colours: %s", "no matrix is stated; BT.601 is taken, as libraries do")

    @staticmethod
    def _is_hd(frame: Any) -> bool:
        return min(frame.width, frame.height) >= _HD_FROM

    def _say_once(self, message: str, value: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.info(f"%s: {message}", self._name, value)


def orientation(frame: Any) -> tuple[bool, int, int]:
    """How a decoded frame is to be turned, by the signs of its display matrix.

    The matrix [a b; c d] takes (x, y) to (ax + cy, bx + dy), which are eight orientations of
    quarter turns and mirrors; for other angles the nearest one.

    Returns:
        whether rows and columns change places; then the steps, 1 or -1, in which to read both.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return False, 1, 1
    a, b, _, c, d = np.frombuffer(bytes(side_data), dtype=np.int32)[:5].tolist()
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    right, down = (c, b) if transposed else (a, d)
    return transposed, -1 if down < 0 else 1, -1 if right < 0 else 1
