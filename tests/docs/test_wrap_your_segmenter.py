"""docs/wrap-your-segmenter.md: its files are written out as they stand, and run."""

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.modeling import build_model
from pages import blocks_of, command_of, lines_of, run
from tiny_dataset import write_vspw_tree

from cffm_plugin.config import load_config

PAGE = "wrap-your-segmenter.md"
# What makes the page's models and data tiny, in the two languages of overrides.
YAML_MODEL = [
    *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.DEVICE", "cpu"),
    *("MODEL.FPN.OUT_CHANNELS", "32", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32"),
]
YAML_RUN = [
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.CLIP.FIT_SIZE", "(64, 48)", "INPUT.CROP.SIZE", "[32, 32]"),
]
LAZY_MODEL = ["model.backbone.bottom_up.stages.depth=18", "model.sem_seg_head.conv_dims=32"]
LAZY_RUN = [
    *("model.temporal.module.dim=32", "max_iter=2", "dataloader.train.total_batch_size=2"),
    "dataloader.train.mapper.augmentations.fit_size=[64,48]",
    "dataloader.train.mapper.augmentations.crop_size=[32,32]",
    "dataloader.test.mapper.augmentations.fit_size=[64,48]",
]


@pytest.fixture(scope="module")
def blocks():
    found = blocks_of(PAGE)
    assert len(found) == 9
    return found


@pytest.fixture
def folder(tmp_path, blocks):
    """A person's folder with the page's files, and the datasets that the page names."""
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    videos = {"train": {"t0": 12, "t1": 11}, "val": {"v0": 4}}
    write_vspw_tree(tmp_path / "datasets" / "vspw" / "VSPW_480p", videos)
    return tmp_path


def save(image_segmentor, folder):
    """Put the weights where the page says that the person's checkpoint is."""
    (folder / "output" / "my_segmentor").mkdir(parents=True)
    file = folder / "output" / "my_segmentor" / "model_final.pth"
    torch.save({"model": image_segmentor.state_dict()}, file)


def image_part(weights):
    return {name: tensor for name, tensor in weights.items() if not name.startswith("temporal.")}


def test_the_yaml_way_trains_and_evaluates(folder):
    image_segmentor = build_model(load_config(str(folder / "my_segmentor.yaml"), YAML_MODEL))
    save(image_segmentor, folder)
    run(folder, *command_of(PAGE), *YAML_MODEL, *YAML_RUN)
    output = folder / "output" / "my_segmentor_cffm"
    assert (output / "inference" / "vspw_results.json").exists()
    trained = torch.load(output / "model_final.pth", weights_only=False)["model"]
    assert image_part(trained).keys() == image_segmentor.state_dict().keys() != trained.keys()


def test_the_script_of_ones_own_trains(folder):
    save(build_model(load_config(str(folder / "my_segmentor.yaml"), YAML_MODEL)), folder)
    script = (folder / "my_script.py").read_text()
    overrides = f"cfg.merge_from_list({YAML_MODEL + YAML_RUN})\n"
    (folder / "my_script.py").write_text(
        script.replace("resolve_normalization(cfg)", f"{overrides}resolve_normalization(cfg)")
    )
    run(folder, "my_script.py")
    assert (folder / "output" / "my_segmentor_cffm" / "model_final.pth").exists()


def test_the_lazy_way_trains_and_evaluates(folder):
    lazy = LazyConfig.load(str(folder / "my_segmentor.py"))
    image_segmentor = instantiate(LazyConfig.apply_overrides(lazy, LAZY_MODEL).model)
    save(image_segmentor, folder)
    printed = run(folder, "my_loop.py", *LAZY_MODEL, *LAZY_RUN)
    assert "mIoU" in printed
    trained = torch.load(folder / "output" / "my_segmentor_cffm.pth", weights_only=False)["model"]
    assert image_part(trained).keys() == image_segmentor.state_dict().keys() != trained.keys()


def test_the_lazy_way_starts_as_the_image_segmentor(folder):
    image, video = (
        instantiate(
            LazyConfig.apply_overrides(LazyConfig.load(str(folder / name)), LAZY_MODEL + more).model
        ).eval()
        for name, more in (("my_segmentor.py", []), ("my_segmentor_cffm.py", LAZY_RUN[:1]))
    )
    unexpected = video.load_state_dict(image.state_dict(), strict=False).unexpected_keys
    frames = [255 * torch.rand(3, 64, 96) for _ in range(4)]
    with torch.no_grad():
        (expected,), (found,) = image([{"image": frames[-1]}]), video([{"image": frames}])
    assert not unexpected
    assert torch.allclose(found["sem_seg"], expected["sem_seg"], atol=1e-4)


def test_both_ways_build_the_same_temporal_part(folder):
    of_yaml = build_model(load_config(str(folder / "my_segmentor_cffm.yaml"), YAML_MODEL))
    config = LazyConfig.load(str(folder / "my_segmentor_cffm.py"))
    of_lazy = instantiate(LazyConfig.apply_overrides(config, LAZY_MODEL + LAZY_RUN[:1]).model)

    def described(model):
        shapes = {name: p.shape for name, p in model.temporal.named_parameters()}
        names = ("image_loss_weight", "video_loss_weight", "frame_offsets", "clip_length")
        return shapes, model.temporal.stride, [getattr(model, name) for name in names]

    assert described(of_yaml) == described(of_lazy)
    assert type(of_yaml.temporal.module).__bases__ == (type(of_lazy.temporal.module),)


@pytest.mark.parametrize(
    "files",
    [("my_segmentor_cffm.yaml", "train_net.py"), ("my_segmentor_cffm.py",), ("my_loop.py",)],
)
def test_each_way_takes_fewer_than_20_lines(blocks, files):
    assert sum(len(lines_of(blocks[name])) for name in files) < 20
