"""The front door: models and clips by one call, in plain torch, under any trainer."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from fresh_process import ROOT, run_without
from torch import nn
from video_files import write_video

import cffm_plugin
from cffm_plugin.core import FrameMap, StreamingSegmentor, WindowedModule
from cffm_plugin.core.label_maps import AFTER_CLASSIFIER

NUM_CLASSES = 5
OTHERS = ("detectron2", "timm", "cv2", "transformers", "fvcore")


def tiny_model(**arguments):
    torch.manual_seed(0)
    options = {"embedding_channels": 16, "num_heads": 4, "depth": 1} | arguments
    return cffm_plugin.create_model("cffm_recall_mit_tiny", NUM_CLASSES, **options)


def tiny_recurrent():
    torch.manual_seed(0)
    options = {"embedding_channels": 16, "mode": "stream"}
    return cffm_plugin.create_model("tv3s_mit_tiny", NUM_CLASSES, **options).eval()


def tiny_clips(batch=2, length=4, size=(32, 48)):
    generator = torch.Generator().manual_seed(1)
    clips = torch.randint(0, 256, (batch, length, 3, *size), generator=generator)
    labels = torch.randint(0, NUM_CLASSES, (batch, length, *size), generator=generator)
    return clips.to(torch.uint8), labels


@pytest.fixture
def folder(tmp_path):
    """A folder of two videos of 12 frames, every second one with a mask, and its YAML file."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for video in ("a", "b"):
        for kind in ("frames", "masks"):
            (tmp_path / "mine" / video / kind).mkdir(parents=True)
        for index in range(12):
            name = f"{index:04d}"
            picture = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "mine" / video / "frames" / f"{name}.png")
            if index % 2:
                mask = rng.integers(0, NUM_CLASSES, (40, 56), dtype=np.uint8)
                Image.fromarray(mask).save(tmp_path / "mine" / video / "masks" / f"{name}.png")
    classes = [f"kind {k}" for k in range(NUM_CLASSES)]
    base = {"root": "mine", "classes": classes, "label_mapping": "from_0"}
    content = {f"mine_{s}": base | {"is_train": s == "train"} for s in ("train", "val")}
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(content))
    return file


def test_the_five_lines_run_where_no_other_library_can_be_imported(folder, tmp_path):
    pictures = [np.full((32, 48, 3), 20 * index, np.uint8) for index in range(6)]
    write_video(tmp_path / "street.mp4", pictures)
    result = run_without(
        OTHERS,
        f"""
        import torch, cffm_plugin
        data = cffm_plugin.VideoFolder({str(folder)!r}, split="train", crop_size=(32, 32))
        model = cffm_plugin.create_model("cffm_mit_tiny", num_classes=5, embedding_channels=16)
        batch = next(iter(torch.utils.data.DataLoader(data, batch_size=2)))
        model(**batch).loss.backward()
        for frame in model.stream({str(tmp_path / "street.mp4")!r}):
            print(frame.name, tuple(frame.labels.shape), frame.image.shape, frame.seconds)
        print(model.save_pretrained({str(tmp_path / "saved")!r}))
        again = cffm_plugin.from_pretrained({str(tmp_path / "saved")!r})
        print(all(torch.equal(a, b) for a, b in zip(again.state_dict().values(),
            model.state_dict().values())))
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.Conv2d(8, 5, 1))
        wrapped = cffm_plugin.wrap(net, num_heads=4, size_divisibility=4)
        print(wrapped(torch.zeros(1, 4, 3, 32, 32), torch.zeros(1, 32, 32).long()).loss)
        """,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "00000000 (32, 48) (32, 48, 3) 0.0" and len(lines) == 9
    assert lines[7] == "True" and lines[8].startswith("tensor(")


def test_importing_the_package_imports_no_torch():
    code = "import sys, cffm_plugin; print('torch' in sys.modules, cffm_plugin.__version__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.split() == ["False", cffm_plugin.__version__]


def test_every_name_of_the_front_door_is_there():
    for name in cffm_plugin.__all__:
        assert getattr(cffm_plugin, name) is not None


def test_losses_are_those_of_the_clip_losses_and_logits_those_of_the_clip():
    model = tiny_model().train()
    clips, labels = tiny_clips()
    out = model(clips, labels=labels)
    assert set(out.losses) == {"loss_sem_seg", "loss_video"} and out.logits is None
    torch.testing.assert_close(out.loss, sum(out.losses.values()))
    assert out["loss"] is out.loss
    model.eval()
    with torch.no_grad():
        out = model(clips)
    assert out.loss is None and out.logits.shape == (2, NUM_CLASSES, 32, 48)
    for clip, logits, of_labels in zip(clips, out.logits, out.labels):
        single = model(clip[None]).logits[0]
        torch.testing.assert_close(single, logits)
        assert torch.equal(of_labels, logits.argmax(dim=0))


@pytest.mark.parametrize("kind", ["cffm_recall_mit_tiny", "cffm_mit_tiny", "segformer_mit_tiny"])
def test_evaluation_of_images_with_labels_gives_the_image_segmentors_losses(kind):
    torch.manual_seed(0)
    model = cffm_plugin.create_model(kind, NUM_CLASSES, embedding_channels=16).eval()
    clips, labels = tiny_clips(length=1)
    with torch.no_grad():
        out = model(clips, labels=labels)
        of_targets = model(clips[:, 0], labels=labels[:, 0])
    assert set(out.losses) == {"loss_sem_seg"} and out.logits.shape == (2, NUM_CLASSES, 32, 48)
    expected = nn.functional.cross_entropy(out.logits, labels[:, 0])
    torch.testing.assert_close(out.loss, expected)
    torch.testing.assert_close(of_targets.loss, out.loss)


def test_labels_of_targets_alone_are_those_of_clips_whose_references_are_void():
    model = tiny_model(dropout=0.0, drop_path_rate=0.0)
    clips, labels = tiny_clips()
    of_targets = model(clips, labels=labels[:, -1]).losses
    references_void = labels.clone()
    references_void[:, :-1] = 255
    others = model(clips, labels=references_void).losses
    torch.testing.assert_close(of_targets["loss_video"], others["loss_video"])


@pytest.mark.parametrize(
    "clips, labels, said",
    [
        (torch.zeros(2, 3, 3, 32, 32), torch.zeros(2, 32, 32).long(), r"\(B, 4, 3, H, W\)"),
        (torch.zeros(2, 4, 1, 32, 32), torch.zeros(2, 32, 32).long(), r"\(B, 4, 3, H, W\)"),
        ([torch.zeros(3, 32, 32)], None, "got list"),
        (torch.zeros(2, 4, 3, 32, 32), None, "training needs labels"),
        (torch.zeros(2, 4, 3, 32, 32), torch.zeros(2, 16, 16).long(), r"\(2, 4, 32, 32\)"),
    ],
)
def test_inputs_that_do_not_fit_are_errors_that_say_the_shape(clips, labels, said):
    with pytest.raises(ValueError, match=said):
        tiny_model().train()(clips, labels)


@pytest.mark.parametrize("length", [0, 2, 3, 5])
def test_a_clip_of_another_length_is_an_error_in_evaluation_too(length):
    model = tiny_model().eval()
    with pytest.raises(ValueError, match=r"\(B, 4, 3, H, W\).*one frame, for images"):
        model(torch.zeros(1, length, 3, 32, 32))
    carried = tiny_recurrent()
    assert carried.clip_length is None
    if length:
        assert carried(torch.zeros(1, length, 3, 32, 32)).logits.shape == (1, NUM_CLASSES, 32, 32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int16])
def test_labels_of_every_whole_type_are_the_same_labels(dtype):
    clips, labels = tiny_clips()
    labels[:, :, :8] = 255
    for model in (tiny_model().eval(), cffm_plugin.create_model("segformer_mit_tiny", 5).eval()):
        assert torch.equal(model(clips, labels.to(dtype)).loss, model(clips, labels).loss)
    with pytest.raises(ValueError, match=r"whole numbers.*float32"):
        model(clips, labels.float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_frames_of_any_number_of_bits_go_into_weights_of_any(dtype):
    clips, labels = tiny_clips()
    exact = tiny_model().eval()
    expected = exact(clips).logits
    assert torch.equal(exact(clips.double()).logits.float(), expected)
    cast = tiny_model().eval().to(dtype)
    logits = cast(clips.float()).logits
    assert logits.dtype == dtype and cast(clips.float(), labels).loss.isfinite()
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.1)
    assert cast.step(clips[0, 0].float()).shape == (32, 48)


def test_a_net_of_other_weights_than_float32_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"torch.bfloat16; wrap takes float32: wrap\(net.float"):
        cffm_plugin.wrap(net_of("sequential").bfloat16())


def test_an_image_of_pillow_is_no_frame_and_the_error_makes_it_one():
    from PIL import Image

    with pytest.raises(ValueError, match=r'numpy.asarray\(image.convert\("RGB"\)\)'):
        tiny_model().step(Image.new("RGB", (48, 32)))


def test_a_folder_of_images_streams_with_pillow_alone(folder):
    result = run_without(
        (*OTHERS, "av"),
        f"""
        import torch, cffm_plugin
        model = cffm_plugin.create_model("segformer_mit_tiny", num_classes=5)
        for frame in model.stream({str(folder.parent / "mine" / "a" / "frames")!r}):
            print(frame.name, tuple(torch.from_numpy(frame.image).shape))
        """,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"{index:04d} (40, 56, 3)" for index in range(12)]


def test_streams_of_files_give_the_frames_that_are_in_them(folder):
    from PIL import Image

    frames = folder.parent / "mine" / "a" / "frames"
    for frame in tiny_model().stream(frames):
        assert np.array_equal(frame.image, np.asarray(Image.open(frames / f"{frame.name}.png")))


def test_the_order_of_channels_of_a_file_is_not_asked_for(folder):
    with pytest.raises(ValueError, match="channel_order is of frames that are given"):
        list(tiny_model().stream(folder.parent / "mine" / "a" / "frames", channel_order="BGR"))


def test_a_folder_of_a_model_that_is_not_there_is_not_found_whatever_is_installed(tmp_path):
    result = run_without(
        OTHERS,
        f"""
        import cffm_plugin
        for source in ({str(tmp_path / "missing")!r}, {str(tmp_path)!r}, "owner/repository"):
            try:
                cffm_plugin.from_pretrained(source)
            except (OSError, ImportError) as error:
                print(type(error).__name__, error)
        """,
    )
    missing, empty, hub = result.stdout.splitlines()
    assert missing.startswith("FileNotFoundError") and "no such folder" in missing
    assert empty.startswith("FileNotFoundError") and "holds no model.safetensors" in empty
    assert "needs detectron2" in hub


@pytest.mark.parametrize("name", ["cffm_mit_b0", "cffm_recall_mit_b0", "mrcfa_mit_b1"])
def test_an_argument_that_nothing_takes_is_named_with_the_module_that_is_asked_for(name):
    module = {"cffm": "CFFM", "cffm_recall": "CFFMRecall", "mrcfa": "MRCFA"}[name[:-7]]
    with pytest.raises(TypeError, match=f"smothing: no argument.*nor of {module},"):
        cffm_plugin.create_model(name, 3, smothing=0.5)


def test_errors_say_the_names_of_arguments():
    with pytest.raises(ValueError, match="^output .*is one of classifier"):
        tiny_model(output="nothing")
    with pytest.raises(ValueError, match="^smoothing "):
        StreamingSegmentor(tiny_model(), smoothing=2.0)


def test_a_model_that_there_is_not_is_an_error_with_the_nearest():
    with pytest.raises(ValueError, match="cffm_mit_b5"):
        cffm_plugin.create_model("cffm_mit_b9", 3)


def test_the_papers_names_have_the_papers_output_and_others_the_default():
    paper = cffm_plugin.create_model("cffm_mit_tiny", 3, embedding_channels=16)
    assert {n.split(".")[1] for n in paper.temporal.state_dict()} >= {"blocks"}
    assert "temporal.output.classifier.weight" in paper.state_dict()
    assert "temporal.output.classifier.weight" not in tiny_model().state_dict()
    alone = cffm_plugin.create_model("segformer_mit_tiny", 3, embedding_channels=16)
    assert alone.temporal is None and alone.clip_length == 1


def test_a_stream_is_the_clip_and_takes_arrays_and_tensors_in_both_orders():
    model = tiny_model().eval()
    frames = [torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8) for _ in range(10)]
    arrays = [frame.permute(1, 2, 0).numpy() for frame in frames]
    expected = model(torch.stack([frames[0], frames[3], frames[6], frames[9]])[None]).labels[0]
    flipped = [np.ascontiguousarray(array[:, :, ::-1]) for array in arrays]
    views = [array[:, :, ::-1] for array in flipped]
    for source, order in (
        (frames, "RGB"),
        (arrays, "RGB"),
        (flipped, "BGR"),
        ([frame.flip(0) for frame in frames], "BGR"),
        (views, "RGB"),
        ([frame.float() for frame in frames], "RGB"),
    ):
        *_, last = model.stream(source, channel_order=order)
        assert torch.equal(last.labels.long(), expected)
    for frame in arrays:
        labels = model.step(frame)
    assert torch.equal(labels.long(), expected)
    model.reset()
    assert torch.equal(model.step(arrays[0]).long(), model(frames[0][None]).labels[0])


@pytest.mark.parametrize("name", ["street [a1b2].mp4", "what?.mp4", "*.mp4"])
def test_a_video_file_that_is_there_is_no_pattern(name, tmp_path):
    write_video(tmp_path / name, [np.full((32, 48, 3), 40 * index, np.uint8) for index in range(3)])
    assert len(list(tiny_model().stream(tmp_path / name))) == 3


def test_a_pattern_is_the_images_that_fit_it(folder):
    frames = folder.parent / "mine" / "a" / "frames"
    names = [given.name for given in tiny_model().stream(frames / "000[1-3].png")]
    assert names == ["0001", "0002", "0003"]


def test_an_array_and_a_tensor_are_resized_alike():
    model = tiny_model().eval()
    frame = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)
    halved = StreamingSegmentor(model, resize=lambda image: np.ascontiguousarray(image[::2, ::2]))
    results = [
        halved.step(given, output="logits", stream=number)
        for number, given in enumerate((frame, frame.permute(1, 2, 0).numpy(), frame.float()))
    ]
    assert results[0].shape == (NUM_CLASSES, 32, 48)
    assert all(torch.equal(result, results[0]) for result in results)


def test_a_copy_and_a_saved_model_step_on_their_own(tmp_path):
    import copy

    model = tiny_model().eval()
    frame = np.full((32, 48, 3), 90, np.uint8)
    first = model.step(frame)
    assert torch.equal(copy.deepcopy(model).step(frame), first)
    torch.save(model, tmp_path / "whole.pth")
    assert torch.equal(torch.load(tmp_path / "whole.pth", weights_only=False).step(frame), first)


def changed_by_loading(model, state):
    model.load_state_dict(state)


def changed_by_loading_what_holds_it(model, state):
    nn.ModuleDict({"model": model}).load_state_dict({f"model.{n}": v for n, v in state.items()})


def changed_by_training(model, state):
    model.train()
    with torch.no_grad():
        for name, values in model.state_dict().items():
            values.copy_(state[name])


@pytest.mark.parametrize("options", [{}, {"autocast": torch.bfloat16, "least_agreement": 0.0}])
@pytest.mark.parametrize(
    "change", [changed_by_loading, changed_by_loading_what_holds_it, changed_by_training]
)
def test_a_step_after_a_change_of_the_weights_is_the_first_with_them(change, options):
    torch.manual_seed(1)
    other = cffm_plugin.create_model("cffm_mit_tiny", NUM_CLASSES, embedding_channels=16)
    model = cffm_plugin.create_model("cffm_mit_tiny", NUM_CLASSES, embedding_channels=16)
    model.stream_options = dict(options)
    frames = tiny_clips(batch=1, length=4)[0][0]
    for frame in frames:
        before = model.step(frame, output="logits")
    change(model, other.state_dict())
    other.stream_options = dict(options)
    expected = other.step(frames[-1], output="logits")
    assert torch.equal(model.step(frames[-1], output="logits"), expected)
    assert not torch.equal(before, expected)


def net_of(kind):
    torch.manual_seed(0)
    if kind == "sequential":
        return nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Conv2d(8, NUM_CLASSES, kernel_size=1)
        )
    from torchvision.models import segmentation

    weights = {"weights": None, "weights_backbone": None, "num_classes": NUM_CLASSES}
    return getattr(segmentation, kind)(**weights)


@pytest.mark.parametrize("kind", ["sequential", "lraspp_mobilenet_v3_large"])
@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
def test_a_wrapped_net_starts_as_that_net_at_any_size(kind, size):
    net = net_of(kind).eval()
    model = cffm_plugin.wrap(net, num_heads=4, depth=1).eval()
    clip = torch.randint(0, 256, (1, 4, 3, *size)).float()
    images = (clip[:, -1] - model.pixel_mean) / model.pixel_std
    if kind == "sequential":  # it cuts images off
        height, width = size
        images = nn.functional.pad(images, (0, -width % 4, 0, -height % 4))
    with torch.no_grad():
        own = net(images)
        own = own["out"] if isinstance(own, dict) else own
        ours = model(clip).logits
    if own.shape[-2:] != size:  # it leaves the resize to others
        own = nn.functional.interpolate(own, scale_factor=4, mode="bilinear")[..., : size[0], :]
        own = own[..., : size[1]]
    assert float((own - ours).abs().max()) <= 1e-4 * float(own.abs().max())
    model.train()
    labels = torch.randint(0, NUM_CLASSES, (1, *size))
    model(torch.cat([clip, clip]), labels=torch.cat([labels, labels])).loss.backward()
    assert all(parameter.grad is not None for parameter in model.temporal.parameters())


class Upsampled(nn.Module):
    """A net of stride 8 whose logits are resized in one way."""

    def __init__(self, upsampling):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 9, stride=8, padding=4)
        self.classify = nn.Conv2d(8, NUM_CLASSES, 1)
        self.upsampling = upsampling

    def forward(self, images):
        coarse = self.classify(self.embed(images))
        size = self.upsampling.size(tuple(coarse.shape[-2:]), 8, tuple(images.shape[-2:]))
        return {"logits": self.upsampling.resize(coarse, size), "other": None}


@pytest.mark.parametrize("upsampling", AFTER_CLASSIFIER)
def test_the_resize_after_the_classifier_is_found_out(upsampling):
    torch.manual_seed(0)
    net = Upsampled(upsampling).eval()
    model = cffm_plugin.wrap(net, num_heads=4, depth=1).eval()
    assert model.head.upsampling == upsampling
    clip = torch.randint(0, 256, (1, 4, 3, 75, 101)).float()
    with torch.no_grad():
        own = net((clip[:, -1] - model.pixel_mean) / model.pixel_std)["logits"]
        ours = model(clip).logits
        labels = model.step(clip[0, -1])
    own = own[..., :75, :101]
    torch.testing.assert_close(ours, own)
    assert (labels.long() == own.argmax(dim=1)[0]).float().mean() > 0.999


def test_what_can_not_be_wrapped_says_what_to_pass():
    with pytest.raises(ValueError, match=r"no such submodule.*0, 2"):
        cffm_plugin.wrap(net_of("sequential"), "head.classifier")
    after = nn.Sequential(*net_of("sequential"), nn.Tanh())
    with pytest.raises(ValueError, match="not one bilinear resize"):
        cffm_plugin.wrap(after, "2")
    with pytest.raises(ValueError, match="expected logits"):
        cffm_plugin.wrap(nn.Sequential(nn.Flatten()))

    class GivesMapping(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = net_of("sequential")

        def forward(self, images):
            return {"out": self.head(images)}

    with pytest.raises(ValueError, match="what follows 0 is not one bilinear resize"):
        cffm_plugin.wrap(nn.Sequential(GivesMapping()), "0")


@pytest.mark.parametrize("temporal", [None, nn.Identity()])
def test_an_argument_that_nothing_takes_is_an_error_that_names_it(temporal):
    with pytest.raises(TypeError, match="image_fromat"):
        cffm_plugin.wrap(
            net_of("sequential"), size_divisibility=4, temporal=temporal, image_fromat="BGR"
        )
    with pytest.raises(TypeError, match="window_size.*CFFM"):
        cffm_plugin.create_model("cffm_mit_tiny", 3, temporal=temporal, window_size=5)


def test_a_wrapped_nets_weights_have_one_name_and_come_back_by_a_net_of_ones_own(tmp_path):
    model = cffm_plugin.wrap(net_of("sequential"), size_divisibility=4, num_heads=4, depth=1)
    names = list(model.state_dict())
    assert len({p.data_ptr() for p in model.parameters()}) == len(list(model.parameters()))
    assert "backbone.net.2.weight" in names and not any("sem_seg_head" in name for name in names)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="net=net"):
        cffm_plugin.from_pretrained(tmp_path)
    other = net_of("sequential")
    nn.init.zeros_(other[0].weight)
    again = cffm_plugin.from_pretrained(tmp_path, net=other)
    clip = torch.randint(0, 256, (1, 4, 3, 32, 48))
    torch.testing.assert_close(again(clip).logits, model.eval()(clip).logits)


def test_a_wrapped_net_is_copied_streams_in_half_precision_and_is_gathered():
    import copy

    model = cffm_plugin.wrap(net_of("sequential"), size_divisibility=4, num_heads=4, depth=1)
    clip = torch.randint(0, 256, (1, 4, 3, 32, 48))
    twin = copy.deepcopy(model.eval())
    torch.testing.assert_close(twin(clip).logits, model(clip).logits)
    nn.init.zeros_(model.backbone.net[2].weight)  # the copy's is its own
    assert not torch.equal(twin(clip).logits, model(clip).logits)
    half = StreamingSegmentor(twin, autocast=torch.bfloat16, least_agreement=0.0)
    exact = StreamingSegmentor(twin)
    frame = clip[0, -1]
    for _ in range(5):
        ours, expected = (s.step(frame, output="logits") for s in (half, exact))
    assert (ours - expected).abs().max() < 0.05 * expected.abs().max()
    out = twin.train()(clip, labels=torch.zeros(1, 32, 48).long())
    gathered = type(out)((key, torch.stack([value, value])) for key, value in out.items())
    assert gathered.loss.shape == (2,) and gathered.losses == {}


class Mean(WindowedModule):
    """A stranger's temporal module: a scaled mean of the frames."""

    dim, num_references = 8, 2

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))

    def assemble(self, frame, slots=None):
        return FrameMap(frame.cells)

    def mine(self, target, references):
        return self.scale * (target.cells + sum(r.frame for r in references)) / 3


def test_a_strangers_temporal_module_is_taken_and_passed_again_where_it_is_loaded(tmp_path, caplog):
    options = {"output": "classifier", "size_divisibility": 4}
    net = net_of("sequential")
    model = cffm_plugin.wrap(net, temporal=Mean(), **options)
    assert model.frame_offsets == (-6, -3)
    labels = torch.zeros(1, 32, 32).long()
    assert model(torch.zeros(1, 3, 3, 32, 32), labels=labels).loss.isfinite()
    model.save_pretrained(tmp_path)
    assert "from_pretrained(folder, temporal=temporal)" in caplog.text
    with pytest.raises(ValueError, match=r"from_pretrained\(folder, temporal=module\)"):
        cffm_plugin.from_pretrained(tmp_path, net=net_of("sequential"))
    again = cffm_plugin.from_pretrained(tmp_path, net=net_of("sequential"), temporal=Mean())
    clip = torch.randint(0, 256, (1, 3, 3, 32, 32)).float()
    assert torch.equal(again(clip).logits, model.eval()(clip).logits)
    again.save_pretrained(tmp_path / "again")
    create = {"embedding_channels": 8, "temporal": Mean(), "output": "classifier"}
    created = cffm_plugin.create_model("segformer_mit_tiny", NUM_CLASSES, **create)
    created.save_pretrained(tmp_path / "created")
    loaded = cffm_plugin.from_pretrained(tmp_path / "created", temporal=Mean())
    assert torch.equal(loaded(clip).logits, created.eval()(clip).logits)


def halved(logits, labels):
    return nn.functional.cross_entropy(logits, labels, ignore_index=255) / 2


def test_a_loss_of_ones_own_is_passed_again_where_training_goes_on(tmp_path, caplog):
    model = cffm_plugin.wrap(net_of("sequential"), temporal=None, loss=halved)
    model.save_pretrained(tmp_path)
    assert "from_pretrained(folder, loss=loss)" in caplog.text
    caplog.clear()
    again = cffm_plugin.from_pretrained(tmp_path, net=net_of("sequential"), loss=halved)
    assert not caplog.text
    without = cffm_plugin.from_pretrained(tmp_path, net=net_of("sequential"))
    assert "trained with a loss of its own, which is not kept" in caplog.text
    clips, labels = tiny_clips(length=1)
    losses = [m.train()(clips, labels).loss for m in (model, again, without)]
    assert torch.equal(losses[0], losses[1])
    torch.testing.assert_close(losses[2], 2 * losses[0])


def test_what_the_folder_says_is_not_taken_again(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="loss is not needed"):
        cffm_plugin.from_pretrained(tmp_path, loss=halved)


def test_an_argument_that_cannot_be_written_is_named_where_a_model_is_saved(tmp_path):
    model = tiny_model(pixel_mean=np.array([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="create_model was given pixel_mean as an object"):
        model.save_pretrained(tmp_path)


def test_a_folder_of_videos_is_a_dataset_of_clips(folder):
    data = cffm_plugin.VideoFolder(folder, "train", frame_offsets=(-4, -2), crop_size=(24, 32))
    # Of 12 frames 1, 3, ..., 11 have masks: 5, 7, 9 and 11 look back, 1, 3, 5 and 7 forward.
    assert len(data) == 2 * 6 and data.class_names[0] == "kind 0"
    for item in data:
        assert item["clips"].shape == (3, 3, 24, 32) and item["clips"].dtype == torch.uint8
        assert item["labels"].shape == (3, 24, 32) and item["labels"].max() <= 255
    whole = cffm_plugin.VideoFolder(folder, "val", frame_offsets=(-4, -2))
    assert all(item["clips"].shape == (3, 3, 40, 56) for item in whole) and len(whole) == 2 * 6
    # Frame 1 has one frame before it, two are needed; frame 3 looks at ceil(0 * 3 / 2) and
    # ceil(1 * 3 / 2), and frame 5 at 1 and 3.
    alone, spread, far = (whole[index] for index in range(3))
    assert all(torch.equal(frame, alone["clips"][-1]) for frame in alone["clips"])
    assert all(torch.equal(mask, alone["labels"][-1]) for mask in alone["labels"])
    assert torch.equal(far["clips"][0], alone["clips"][-1])
    assert torch.equal(far["clips"][1], spread["clips"][-1])


def test_clips_are_rgb_and_labels_the_masks(folder):
    from PIL import Image

    data = cffm_plugin.VideoFolder(folder, "val", frame_offsets=())
    frame = np.asarray(Image.open(folder.parent / "mine" / "a" / "frames" / "0003.png"))
    mask = np.asarray(Image.open(folder.parent / "mine" / "a" / "masks" / "0003.png"))
    assert np.array_equal(data[1]["clips"][0].permute(1, 2, 0).numpy(), frame)
    assert np.array_equal(data[1]["labels"][0].numpy(), mask)


def test_a_split_that_there_is_not_names_those_that_are(folder):
    with pytest.raises(ValueError, match="mine_train, mine_val"):
        cffm_plugin.VideoFolder(folder, "test")


def fit_by_hand(model, data, monkeypatch):
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for batch in [*loader][:2]:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()


def fit_by_lightning(model, data, monkeypatch):
    lightning = pytest.importorskip("lightning")

    class Training(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, index):
            return self.model(**batch).loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_steps=2, accelerator="cpu", **quiet)
    trainer.fit(Training(), torch.utils.data.DataLoader(data, batch_size=2))
    assert trainer.global_step == 2


def fit_by_transformers(model, data, monkeypatch):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    # It takes a folder of this name where Python runs, as a clone of this project has one, for the
    # library: findings/transformers_takes_a_folder_for_datasets.sh
    monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)
    arguments = transformers.TrainingArguments(
        output_dir="unused",
        max_steps=2,
        per_device_train_batch_size=2,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=data)
    assert trainer.train().global_step == 2


@pytest.mark.parametrize("batch_size", [1, 8])
def test_trainer_of_transformers_evaluates_whole_videos(batch_size, folder, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)
    arguments = transformers.TrainingArguments(
        output_dir="unused",
        per_device_eval_batch_size=batch_size,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    data = cffm_plugin.VideoFolder(folder, "val")
    scores = transformers.Trainer(tiny_model(), arguments).evaluate(data)
    assert np.isfinite(scores["eval_loss"])


@pytest.mark.parametrize("fit", [fit_by_hand, fit_by_lightning, fit_by_transformers])
def test_any_trainer_trains_it(fit, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = cffm_plugin.VideoFolder(folder, "train", crop_size=(32, 32))
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, data, monkeypatch)
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v.cpu(), before[n])}
    assert any(name.startswith("temporal.") for name in moved)
    assert any(name.startswith("backbone.") for name in moved)


def test_frames_of_0_to_1_are_warned_of_and_others_are_not(recwarn):
    model = tiny_model().eval()
    clips = torch.rand(1, 4, 3, 32, 48)
    with pytest.warns(UserWarning, match="multiply them by 255"):
        model(clips)
    with pytest.warns(UserWarning, match="multiply them by 255"):
        model.step(clips[0, 0])
    recwarn.clear()
    model(255 * clips)
    model.step((255 * clips[0, 0]).byte())
    model.step(torch.zeros(3, 32, 48))  # a black frame
    assert not [w for w in recwarn if "255" in str(w.message)]
