"""Pseudo labels: the same whatever is killed or shared, void where unsure, and trained on."""

import os
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from huggingface_models import NAMES as HUB_CLASSES
from huggingface_models import save_model
from PIL import Image
from torch import multiprocessing
from warm_process import WarmProcess

from cffm_plugin.checkpoint import ModelInfo, SegmentorCheckpointer
from cffm_plugin.cli import pseudo_label
from cffm_plugin.data import LabelMapping, read_image, read_mask
from cffm_plugin.data.images import image_to_tensor
from cffm_plugin.engine import CFFMTrainer, complete_config, main
from cffm_plugin.engine import pseudo_labels as making
from cffm_plugin.engine.pseudo_label_folder import PseudoLabelFolder
from cffm_plugin.engine.pseudo_labels import (
    describe,
    make_pseudo_labels,
    prepare_pseudo_labels,
    training_command,
)
from cffm_plugin.engine.tta import ClipSegmentorWithTTA

pytestmark = pytest.mark.usefixtures("forget_datasets")

COMMAND = ("-m", "cffm_command", "pseudo-label")
VSPW_FRAMES = "data/{video}/origin/{frame}.jpg"
CLASSES = ["upper", "lower", "upper box", "lower box"]


@pytest.fixture(autouse=True)
def _one_thread():
    """As the processes compute, forked ones included."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def trained(cfg, tmp_path):
    """The config with MODEL.WEIGHTS of a CFFM, here untrained, seen once and as it is."""
    torch.manual_seed(0)
    info = ModelInfo.from_config(cfg, CLASSES)
    SegmentorCheckpointer(CFFMTrainer.build_model(cfg), str(tmp_path), info=info).save("cffm")
    cfg.MODEL.WEIGHTS = str(tmp_path / "cffm.pth")
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = (1.0,), False
    return cfg


@pytest.fixture
def prepare(trained, tiny_vspw, tmp_path):
    """A folder of that name for labels of t0 and v0, 12 frames each."""

    def run(output, min_confidence=0.0, **options):
        options = {"name": "pseudo", "frames": VSPW_FRAMES, "videos": ["t0", "v0"]} | options
        root = options.pop("root", tiny_vspw.root)
        folder = PseudoLabelFolder.from_config(trained, tmp_path / output, root, **options)
        prepare_pseudo_labels(trained, folder, min_confidence)
        return folder

    return run


@pytest.fixture
def label(prepare, trained):
    """The same, with the labels."""

    def run(output, min_confidence=0.0, **options):
        folder = prepare(output, min_confidence, **options)
        folder.counts = make_pseudo_labels(trained, folder, min_confidence)
        return folder

    return run


def files(folder):
    """Name -> bytes of all files of a folder, the YAML's own path left out of it."""
    root = folder.output
    found = {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}
    return {
        name: content.replace(str(root).encode(), b"") if name.endswith("yaml") else content
        for name, content in found.items()
    }


def work(rank, world_size, meeting, cfg, folder):
    """What a forked process does."""
    if world_size > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size
        )
    making.tqdm = lambda frames, **options: frames  # its lock is one for all forked processes
    counts = make_pseudo_labels(cfg, folder)
    assert counts.num_made == counts.num_frames == counts.values.sum() // (48 * 64)


def fork(world_size, tmp_path, cfg, folder, join=True):
    """``make_pseudo_labels`` in processes that need not import anything."""
    arguments = (world_size, tmp_path / "meeting", cfg, folder)
    return multiprocessing.start_processes(
        work, arguments, nprocs=world_size, join=join, start_method="fork"
    )


def test_three_processes_give_the_same_files(label, prepare, trained, tmp_path):
    expected = files(label("one"))
    assert len(expected) == 12 + 12 + 2
    shared = prepare("three")
    fork(3, tmp_path, trained, shared)
    assert files(shared) == expected


def test_a_killed_run_goes_on_to_the_same_files(label, prepare, trained, tmp_path):
    expected = files(label("whole"))
    killed = prepare("killed")
    (process,) = fork(1, tmp_path, trained, killed, join=False).processes
    while process.is_alive() and len(list(killed.output.rglob("[!.]*.png"))) < 5:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = {file: file.stat().st_mtime_ns for file in killed.output.rglob("[!.]*.png")}
    assert 5 <= len(done) < 24 and not killed.yaml_file.exists()
    # The worst that a kill, or a full disk before it, may have left.
    leftover = killed.output / "masks" / "t0" / ".00000007.123.partial.png"
    leftover.write_bytes(b"\x89PNG")
    cut, *others = done
    cut.write_bytes(cut.read_bytes()[:60])

    again = label("killed")
    assert again.counts.num_made == 24 - len(others)
    assert files(again) == expected  # and nothing else
    assert all(file.stat().st_mtime_ns == done[file] for file in others)


def test_more_classes_than_8_bits_hold_beside_void_are_an_error(cfg, tmp_path):
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 256
    with pytest.raises(ValueError, match="256 classes .*NUM_CLASSES.* 255 at most"):
        PseudoLabelFolder.from_config(cfg, tmp_path / "out", tmp_path, name="pseudo")


@pytest.mark.slow(reason="two processes label videos")
def test_at_sigterm_the_tools_processes_end_and_leave_whole_pngs(trained, tiny_vspw, tmp_path):
    (tmp_path / "config.yaml").write_text(trained.dump())
    masks = tmp_path / "labels" / "masks"
    command = [
        *(*COMMAND, "--num-gpus", "2", "--config-file", tmp_path / "config.yaml"),
        *("--input", tiny_vspw.root, "--frames", VSPW_FRAMES, "--output", tmp_path / "labels"),
        *("--scales", *["1"] * 12),  # so that it takes a while
    ]
    process = WarmProcess(command)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(masks.rglob("[!.]*.png"))) >= 3:
            break
        time.sleep(0.02)
    children = take_children(process.pid)
    process.send_signal(signal.SIGTERM)
    errors = process.finish(timeout=300).stderr
    assert process.returncode == 143, errors[-2000:]
    assert "Stopped by SIGTERM. The same command goes on from here." in errors
    assert len(children) >= 2
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    made = list(masks.rglob("*.png"))
    assert len(made) >= 3 and not any(file.name.startswith(".") for file in made)
    assert all(read_mask(file).shape == (48, 64) for file in made)


def take_children(process):
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


@pytest.mark.parametrize(
    ("enabled", "clips"),
    [
        (False, {11: [11]}),
        # Offsets -9, -6, -3; reversed in time; neither is there whole: as in evaluation.
        (True, {11: [2, 5, 8, 11], 2: [11, 8, 5, 2], 5: [0, 2, 4, 5]}),
    ],
)
def test_labels_are_the_likeliest_classes_and_void_exactly_where_these_are_unlikely(
    label, trained, tiny_vspw, enabled, clips
):
    trained.MODEL.TEMPORAL.ENABLED = enabled
    trained.TEST.AUG.SCALES, trained.TEST.AUG.FLIP = (0.75, 1.5), True
    made = label("labels", min_confidence=0.4, videos=["t0"])
    model = CFFMTrainer.build_model(trained)
    SegmentorCheckpointer(model).load(trained.MODEL.WEIGHTS)
    model = ClipSegmentorWithTTA(trained, model).eval()
    frames = tiny_vspw.root / "data" / "t0" / "origin"
    for index, clip in clips.items():
        images = [image_to_tensor(read_image(frames / f"{i:08d}.jpg"), "RGB") for i in clip]
        with torch.no_grad():
            (output,) = model([{"image": images, "height": 48, "width": 64}])
        confidence, classes = output["sem_seg"].max(0)
        # As in the masks of DATASETS.TRAIN: class k is k + 1.
        expected = torch.where(confidence < 0.4, 255, classes + 1).numpy()
        assert 0.05 < (expected == 255).mean() < 0.95
        values = read_mask(made.output / "masks" / "t0" / f"{index:08d}.png")
        np.testing.assert_array_equal(values, expected)


def test_the_yaml_file_trains_alone_and_with_real_labels(label, trained, tiny_vspw, tmp_path):
    folder = label("labels", min_confidence=0.3)
    targets = []

    class Watched(CFFMTrainer):
        @classmethod
        def build_model(cls, cfg):
            model = super().build_model(cfg)
            model.register_forward_pre_hook(
                lambda module, args: targets.extend(args[0]) if module.training else None
            )
            return model

    trained.SOLVER.MAX_ITER, trained.DATASETS.TEST = 3, ()
    for names in [("pseudo",), (tiny_vspw.train, "pseudo")]:
        (tmp_path / "config.yaml").write_text(trained.dump())
        args = default_argument_parser().parse_args(
            [
                *("--config-file", str(tmp_path / "config.yaml")),
                *("DATASETS.VIDEO_FOLDERS", str(folder.yaml_file), "DATASETS.TRAIN", str(names)),
                *("OUTPUT_DIR", str(tmp_path / f"trained_on_{len(names)}")),
            ]
        )
        targets.clear()
        main(args, Watched)
        assert {clip["video_id"] for clip in targets} >= {"v0"}  # no training video of the real
        values = torch.cat([labels.flatten() for clip in targets for labels in clip["sem_seg"]])
        assert set(values.unique().tolist()) <= {0, 1, 2, 3, 255}
    assert {clip["video_id"] for clip in targets} >= {"v0", "t1"}


def test_it_prints_a_command_that_trains(trained, tiny_vspw, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(trained.dump())
    command = [
        *("--config-file", str(tmp_path / "config.yaml"), "--input", str(tiny_vspw.root)),
        *("--frames", VSPW_FRAMES, "--videos", "t0", "v0", "--scales", "0.75", "1", "--no-flip"),
        *("--name", "seen", "--output", str(tmp_path / "labels")),
        *("MODEL.TEMPORAL.ENABLED", "False"),
    ]
    assert pseudo_label.main(command) == 0
    printed = capsys.readouterr().out
    assert "24 frames of 2 videos (24 made now); 0.00 % of their pixels are void" in printed
    shares = [float(line.split()[-2]) for line in printed.splitlines() if line.endswith(" %")]
    assert len(shares) == 4 and sum(shares) == pytest.approx(100, abs=0.03)

    command = printed[printed.index("cffm train") :].replace("\\\n", " ")
    words = shlex.split(command)[2:]
    assert words[words.index("DATASETS.TRAIN") + 1] == str((tiny_vspw.train, "seen"))
    more = ["SOLVER.MAX_ITER", "1", "OUTPUT_DIR", str(tmp_path / "trained"), "DATASETS.TEST", "()"]
    main(default_argument_parser().parse_args([*words, *more]))
    weights = torch.load(tmp_path / "trained" / "model_final.pth", weights_only=True)["model"]
    assert any(name.startswith("temporal.") for name in weights)


class TestOtherSettings:
    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("TEST.AUG.FLIP", True, "flip: false there, true now"),
            ("TEST.AUG.SCALES", (0.5,), r"scales: \[1.0\] there, \[0.5\] now"),
            ("INPUT.CLIP.FIT_SIZE", (32, 32), r"FIT_SIZE: \[64, 48\] there"),
            ("MODEL.TEMPORAL.ENABLED", False, "TEMPORAL.ENABLED: true there, false now"),
        ],
    )
    def test_are_refused_and_named(self, prepare, trained, key, value, said):
        prepare("labels")
        trained.merge_from_list([key, value])
        with pytest.raises(ValueError, match=rf"(?s)made with other .*{said}.*another --output"):
            prepare("labels")

    def test_other_weights_and_thresholds_are_refused(self, prepare, trained):
        prepare("labels")
        with pytest.raises(ValueError, match="min_confidence: 0.0 there, 0.5 now"):
            prepare("labels", min_confidence=0.5)
        state = torch.load(trained.MODEL.WEIGHTS, weights_only=True)
        torch.save(state | {"another": 1}, trained.MODEL.WEIGHTS)
        with pytest.raises(ValueError, match="made with other weights_sha256:"):
            prepare("labels")

    def test_more_videos_and_moved_folders_are_not(self, label, trained, tmp_path):
        label("labels", videos=["t0"])
        trained.MODEL.WEIGHTS = str(Path(trained.MODEL.WEIGHTS).rename(tmp_path / "moved.pth"))
        (tmp_path / "labels").rename(tmp_path / "elsewhere")
        assert label("elsewhere", videos=["t0", "v0"]).counts.num_made == 12

    def test_a_strangers_folder_is_refused(self, prepare, tmp_path):
        (tmp_path / "labels" / "masks" / "t0").mkdir(parents=True)
        with pytest.raises(ValueError, match="not made by this tool"):
            prepare("labels")

    def test_damaged_settings_are_an_error(self, prepare, tmp_path):
        prepare("labels")
        (tmp_path / "labels" / "settings.json").write_text("{")
        with pytest.raises(ValueError, match=r"settings\.json is damaged"):
            prepare("labels")


class TestLayoutsAndValues:
    @pytest.fixture
    def flat(self, tmp_path, tiny_vspw):
        """Frames 9 and 10 of two videos in one folder."""
        (tmp_path / "flat").mkdir()
        for video in ("t0", "v0"):
            for index in (9, 10):
                file = tiny_vspw.root / "data" / video / "origin" / f"{index:08d}.jpg"
                (tmp_path / "flat" / f"{video}_{index}.jpg").symlink_to(file)
        return tmp_path / "flat"

    @pytest.mark.parametrize(
        ("frames", "masks"),
        [
            ("{video}_{frame}.jpg", ["t0/10.png", "t0/9.png", "v0/10.png", "v0/9.png"]),
            ("t0_{frame}", ["flat/10.png", "flat/9.png"]),  # one video, with the folder's name
        ],
    )
    def test_other_layouts_are_formats_of_the_frames_path(
        self, label, flat, trained, frames, masks
    ):
        trained.MODEL.TEMPORAL.ENABLED = False
        made = label("labels", root=flat, frames=frames, videos=None)
        found = sorted(made.output.rglob("*.png"))
        assert [str(file.relative_to(made.output / "masks")) for file in found] == masks
        trained.DATASETS.VIDEO_FOLDERS = (str(made.yaml_file),)
        complete_config(trained)
        records = DatasetCatalog.get("pseudo")
        pairs = [frame for video in records for frame in video["frames"]]
        assert sorted(frame["sem_seg_file_name"] for frame in pairs) == [*map(str, found)]
        assert [Path(f["file_name"]).stem[-2:] for f in records[0]["frames"]] == ["_9", "10"]

    def test_without_a_dataset_that_fits_value_k_is_class_k(self, label, trained):
        trained.DATASETS.TRAIN = ("vspw_train", "nobodys")
        made = label("labels", videos=["t0"], min_confidence=0.3)
        present = {k for file in made.output.rglob("*.png") for k in np.unique(read_mask(file))}
        assert 255 in present and present <= {0, 1, 2, 3, 255}
        assert made.label_mapping.class_of == {0: 0, 1: 1, 2: 2, 3: 3}
        assert "DATASETS.TRAIN \"('pseudo',)\"" in training_command(trained, made, "")

    def test_pngs_show_the_classes_colours(self, label, trained, tiny_vspw):
        made = label("labels", videos=["t0"], min_confidence=0.3)
        file = made.output / "masks" / "t0" / "00000003.png"
        values, shown = read_mask(file), np.array(Image.open(file).convert("RGB"))
        colors = MetadataCatalog.get(tiny_vspw.train).stuff_colors
        for k in set(np.unique(values)) - {255}:
            assert (shown[values == k] == colors[k - 1]).all()
        assert (shown[values == 255] == 0).all()

    @pytest.mark.parametrize(
        ("class_of", "void", "values"),
        [
            ({1: 0, 2: 1, 3: 2}, (0, 255), [1, 2, 3, 255]),
            ({7: 0, 5: 0, 2: 1, 0: 2}, (255,), [5, 2, 0, 255]),  # the least of several
            ({1: 0, 255: 1, 2: 2}, (0,), [1, 255, 2, 0]),
            ({1: 0, 255: 1, 2: 2}, (), [1, 255, 2, 254]),
            ({1: 0, 2: 1}, (0, 255), [1, 2, 255, 255]),  # the third class has no value
        ],
    )
    def test_values_are_those_of_the_label_mapping(self, tmp_path, class_of, void, values):
        classes = [(name, (0, 0, 0)) for name in CLASSES[:3]]
        mapping = LabelMapping(3, class_of, void)
        folder = PseudoLabelFolder(
            tmp_path, tmp_path, name="p", classes=classes, label_mapping=mapping
        )
        labels = np.array([[0, 1, 2, 2]])
        made = folder.values(labels, np.array([[False, False, False, True]]))
        assert made.dtype == np.uint8 and made.tolist() == [values]

    def test_shares_are_counted(self, label):
        made = label("labels", videos=["t0"])
        values = np.zeros(256, dtype=int)
        values[[1, 2, 0, 255]] = 30, 10, 20, 40  # upper, lower, void twice
        shares, void = made.shares(values)
        assert shares == {"upper": 0.75, "lower": 0.25, "upper box": 0, "lower box": 0}
        assert void == 0.6
        assert made.shares(np.zeros(256, dtype=int))[1] == 0
        assert "0.00 %" in describe(made, made.counts._replace(values=np.zeros(256, dtype=int)))


class TestBadInput:
    @pytest.mark.parametrize("bound", [-0.1, 1.0])
    def test_a_confidence_that_is_none(self, prepare, bound):
        with pytest.raises(ValueError, match="0 <= p < 1"):
            prepare("labels", min_confidence=bound)

    def test_no_weights(self, prepare, trained):
        trained.MODEL.WEIGHTS = ""
        with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS is empty"):
            prepare("labels")
        trained.MODEL.WEIGHTS = "nowhere.pth"
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
            prepare("labels")

    def test_no_scales(self, prepare, trained):
        trained.TEST.AUG.SCALES = ()
        with pytest.raises(ValueError, match="SCALES"):
            prepare("labels")

    def test_no_videos_frames_or_folder(self, prepare, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
            prepare("labels", root=tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match=r"no file like \"\{video\}/\{frame\}\""):
            prepare("labels", frames="{video}/{frame}", videos=None)
        with pytest.raises(FileNotFoundError, match="t9"):
            prepare("labels", videos=["t0", "t9"])
        assert not (tmp_path / "labels").exists()

    def test_videos_that_would_be_written_elsewhere(self, prepare, tmp_path):
        with pytest.raises(ValueError, match="the video '../t0' has the part"):
            prepare("labels", videos=["../t0"])
        (tmp_path / "labels" / "masks").mkdir(parents=True)
        (tmp_path / "labels" / "masks" / "t0").symlink_to(tmp_path)
        with pytest.raises(ValueError, match="masks/t0: is a link that leads out of"):
            prepare("labels")

    def test_an_unreadable_frame_is_named_and_what_was_made_stays(
        self, label, trained, tiny_vspw, tmp_path
    ):
        trained.MODEL.TEMPORAL.ENABLED = False
        frame = tiny_vspw.root / "data" / "t0" / "origin" / "00000006.jpg"
        content = frame.read_bytes()
        for length in (300, len(content) // 2):  # within the header, and within the pixels
            frame.write_bytes(content[:length])
            with pytest.raises(ValueError, match=r"00000006\.jpg.*damaged"):
                label("labels", videos=["t0"])
        frame.write_bytes(content)
        assert label("labels", videos=["t0"]).counts.num_made == 6


def test_frames_that_are_there_are_not_made_again(label, monkeypatch):
    label("labels", videos=["t0"])
    monkeypatch.setattr(making, "_label", None)
    assert label("labels", videos=["t0"]).counts.num_made == 0


def test_a_model_of_the_hub_labels_as_it_is(cfg, tiny_vspw, tmp_path):
    """Mask classification, whose scores are no logits, with its own classes and no checkpoint."""
    save_model("mask2former", tmp_path / "hub")
    cfg.MODEL.IMAGE_ARCHITECTURE, cfg.MODEL.HF.NAME = "build_hf_segmenter", str(tmp_path / "hub")
    cfg.MODEL.TEMPORAL.ENABLED, cfg.MODEL.WEIGHTS = False, ""
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.DATASETS.TRAIN = len(HUB_CLASSES), ()
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = (1.0, 2.0), True
    options = {"name": "pseudo", "frames": VSPW_FRAMES, "videos": ["v0"]}
    folder = PseudoLabelFolder.from_config(cfg, tmp_path / "out", tiny_vspw.root, **options)
    prepare_pseudo_labels(cfg, folder)
    make_pseudo_labels(cfg, folder)
    (record, *_) = folder.find_frames((), 0.0)
    model = ClipSegmentorWithTTA(cfg, CFFMTrainer.build_model(cfg)).eval()
    image = image_to_tensor(read_image(record["file_name"]), "RGB")
    with torch.no_grad():
        (expected,) = model([{"image": image, "height": 48, "width": 64}])
    assert torch.allclose(expected["sem_seg"].sum(dim=0), torch.ones(48, 64), atol=1e-5)
    assert np.array_equal(read_mask(record["mask_file"]), expected["sem_seg"].argmax(dim=0))
    described = folder.yaml_file.read_text()
    assert all(name in described for name in HUB_CLASSES)
