"""Datasets. Importing this registers the builtin ones and touches no disk."""

from .camvid import load_camvid
from .cityscapes_video import load_cityscapes_video
from .records import (
    datasets_folder,
    make_training_record,
    records_of,
    register_videos,
)
from .video_folder import register_video_folder, register_video_folder_from_yaml
from .vspw import load_vspw, register_vspw

__all__ = [
    "datasets_folder",
    "load_camvid",
    "load_cityscapes_video",
    "load_vspw",
    "make_training_record",
    "records_of",
    "register_video_folder",
    "register_video_folder_from_yaml",
    "register_videos",
    "register_vspw",
]
