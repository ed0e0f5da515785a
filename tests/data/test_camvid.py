"""CamVid in the layout of the SegNet tutorial: videos are stretches without a jump."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.data import load_camvid


def write(root, split, names, suffix=".png"):
    for folder in (split, f"{split}annot"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (12, 9)).save(root / split / f"{name}{suffix}")
        Image.fromarray(np.full((9, 12), 11, np.uint8)).save(root / f"{split}annot" / f"{name}.png")


def frames_of(videos):
    return {
        v["video_id"]: [f["file_name"].split("_")[-1].split(".")[0] for f in v["frames"]]
        for v in videos
    }


def test_a_sequence_is_cut_where_frame_numbers_jump(tmp_path):
    steady = [f"0001TP_{n:06d}" for n in (6690, 6720, 6750)]
    # 31 and 29 are no jumps where 30 is usual; 90 and 1950 are.
    jumps = [f"0016E5_{n:05d}" for n in (390, 420, 451, 480, 570, 600, 2550)]
    write(tmp_path, "train", steady + jumps)
    assert frames_of(load_camvid(tmp_path, "train")) == {
        "0001TP_006690": ["006690", "006720", "006750"],
        "0016E5_00390": ["00390", "00420", "00451", "00480"],
        "0016E5_00570": ["00570", "00600"],
        "0016E5_02550": ["02550"],
    }


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_frames_are_png_or_jpeg_and_in_the_order_of_their_numbers(tmp_path, suffix):
    write(tmp_path, "val", ["Seq05VD_f00010", "Seq05VD_f00008", "Seq05VD_f00012"], suffix)
    records = load_camvid(tmp_path, "val")
    assert [record["file_name"][-len(f"00008{suffix}") :] for record in records] == [
        f"{n}{suffix}" for n in ("00008", "00010", "00012")
    ]
    assert [record["frame_index"] for record in records] == [0, 1, 2]
    assert {record["num_frames"] for record in records} == {3}
    assert (records[0]["height"], records[0]["width"]) == (9, 12)
    assert records[1]["sem_seg_file_name"] == str(tmp_path / "valannot" / "Seq05VD_f00010.png")


def test_eleven_is_void():
    mapping = MetadataCatalog.get("camvid_val").label_mapping
    labels = mapping(np.arange(12, dtype=np.uint8))
    assert labels.tolist() == [*range(11), 255]
    assert mapping.foreign_values(np.array([[10, 11, 12]], np.uint8)) == [12]


def test_the_builtin_names_read_the_datasets_folder(tmp_path, monkeypatch):
    write(tmp_path / "CamVid", "test", ["0001TP_008550"])
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert len(DatasetCatalog.get("camvid_test")) == 1
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="CamVid.*SegNet tutorial"):
        DatasetCatalog.get("camvid_test")


def test_errors_name_the_file(tmp_path):
    write(tmp_path, "train", ["0001TP_006690"])
    (tmp_path / "trainannot" / "0001TP_006690.png").unlink()
    with pytest.raises(FileNotFoundError, match="has no mask: expected .*trainannot"):
        load_camvid(tmp_path, "train")
    write(tmp_path, "val", ["nonumber"])
    with pytest.raises(ValueError, match="nonumber.png: expected a frame of CamVid"):
        load_camvid(tmp_path, "val")
    with pytest.raises(FileNotFoundError, match="no frames"):
        load_camvid(tmp_path, "test")
    with pytest.raises(ValueError, match="'trainval'"):
        load_camvid(tmp_path, "trainval")
    write(tmp_path, "test", ["0001TP_f01", "0001TP_01"])
    with pytest.raises(ValueError, match="same frame"):
        load_camvid(tmp_path, "test")
