"""Every configuration key that this package adds to detectron2's, and reading config files."""

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from . import needs_detectron2  # noqa: F401  (says how to get it)

# isort: split
from detectron2.config import CfgNode, get_cfg
from detectron2.projects.deeplab import add_deeplab_config

from .config_files import files_at_hand, files_of_config, read_safely
from .core import defaults
from .foreign_parts import ADDERS, IMPORTS, add_foreign_parts, list_of_texts
from .shipped_configs import find_config_file

# Keys that are lists of names, of which one may be written without brackets.
_LISTS_OF_NAMES = {
    "MODEL.IMPORTS": "file.py",
    "MODEL.CONFIG_ADDERS": "file.py:function",
    "DATASETS.VIDEO_FOLDERS": "file.yaml",
    "DATASETS.TRAIN": "name",
    "DATASETS.TEST": "name",
}


def add_cffm_config(cfg: CfgNode) -> None:
    """Add the keys of CFFM to ``cfg``, in place. Includes those of detectron2's DeepLab project.

    A key that is there already keeps its value, so it does not matter whether other projects add
    theirs before or after. From then on ``cfg.merge_from_file`` reads plain YAML alone: a tag
    that would run code is an error.
    """
    from . import registration  # noqa: F401  (it imports what reads configs)

    additions = get_cfg()
    # Heads of DeepLab, WarmupPolyLR and the class-area limit of crops.
    add_deeplab_config(additions)
    _add_temporal_keys(additions)
    _add_cffm_keys(additions)
    _add_mrcfa_keys(additions)
    _add_tv3s_keys(additions)
    _add_segmentor_keys(additions)
    _add_backbone_keys(additions)
    _add_hugging_face_keys(additions)
    _add_data_keys(additions)
    _add_test_keys(additions)
    _add_engine_keys(additions)
    _fill_in(cfg, additions)
    read_safely(cfg)


def _add_temporal_keys(cfg: CfgNode) -> None:
    # What makes a video segmentor of an image segmentor.
    cfg.MODEL.TEMPORAL = CfgNode()
    # False: the plain image segmentor, with the same data, trainer and evaluator.
    cfg.MODEL.TEMPORAL.ENABLED = True
    # The temporal module, a name in cffm_plugin.modeling.TEMPORAL_REGISTRY. "CFFM": the paper's, as
    # the authors' weights need it. "CFFMRecall": looks at the past cell by cell as well. "MRCFA":
    # compares cells with past frames at three levels of the backbone. "TV3S": a state space model
    # carries a state from frame to frame. Recurrent ones look at every
    # frame of a stream, and train on clips of the frames below.
    cfg.MODEL.TEMPORAL.NAME = defaults.TEMPORAL
    # Reference frames relative to the target, oldest first, all negative.
    cfg.MODEL.TEMPORAL.FRAME_OFFSETS = defaults.FRAME_OFFSETS
    # Stride of the embedding that the temporal module works on.
    cfg.MODEL.TEMPORAL.STRIDE = defaults.STRIDE
    # How the refined embedding becomes logits. "classifier": the paper's, what the authors' weights
    # need. "refined": a classifier of the refined embedding alone. "refine": what the module
    # changed goes through the image head's own classifier, so that the video segmentor starts as
    # the image segmentor.
    cfg.MODEL.TEMPORAL.OUTPUT = defaults.OUTPUT
    # Channel dropout before the video classifier of "classifier" and "refined".
    cfg.MODEL.TEMPORAL.DROPOUT = defaults.DROPOUT
    # Weights of the head's two losses: on all frames' image logits, on the target's video logits.
    # With these the image segmentor trains as it would alone; under Adam the temporal module, which
    # has the second loss alone, learns as fast at any weight. The paper's are 0.5 and 1.
    cfg.MODEL.TEMPORAL.IMAGE_LOSS_WEIGHT = defaults.IMAGE_LOSS_WEIGHT
    cfg.MODEL.TEMPORAL.VIDEO_LOSS_WEIGHT = defaults.VIDEO_LOSS_WEIGHT
    # Train the temporal part alone, on the image segmentor of MODEL.WEIGHTS as it is.
    cfg.MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER = False

    # CFFM++: a branch that looks at the prototypes of the whole video. Training trains it alone.
    cfg.MODEL.TEMPORAL.PROTOTYPES = CfgNode()
    cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED = False
    # Folder with the prototypes of every video, of cffm prototypes (<video>.pt) or of
    # the authors (<video>/centers.pt).
    cfg.MODEL.TEMPORAL.PROTOTYPES.FOLDER = ""
    # Weight of the branch's logits, which are added to the video logits.
    cfg.MODEL.TEMPORAL.PROTOTYPES.LOGIT_WEIGHT = defaults.PROTOTYPE_LOGIT_WEIGHT
    # How cffm prototypes makes them: frames of a video, clusters, k-means iterations.
    cfg.MODEL.TEMPORAL.PROTOTYPES.NUM_FRAMES = 10
    cfg.MODEL.TEMPORAL.PROTOTYPES.NUM_PROTOTYPES = 100
    cfg.MODEL.TEMPORAL.PROTOTYPES.ITERATIONS = 10


def _add_cffm_keys(cfg: CfgNode) -> None:
    # CFFM itself. See cffm_plugin.core.CFFM for what the values mean.
    cfg.MODEL.CFFM = CfgNode()
    # Number of temporal blocks: 1 for MiT-B0, 2 for B1 and B2, 4 for B5.
    cfg.MODEL.CFFM.DEPTH = defaults.DEPTH
    # Attention heads, those of CFFM++'s branch too.
    cfg.MODEL.CFFM.NUM_HEADS = defaults.NUM_HEADS
    # Side of a window, in embedding cells.
    cfg.MODEL.CFFM.WINDOW_SIZE = defaults.WINDOW_SIZE
    # Per reference frame, oldest first: tokens per window side, and side of the neighbourhood of
    # tokens that a window attends to.
    cfg.MODEL.CFFM.REFERENCE_POOLS = defaults.REFERENCE_POOLS
    cfg.MODEL.CFFM.REFERENCE_KERNELS = defaults.REFERENCE_KERNELS
    # Side of the neighbourhood of the target's own window tokens.
    cfg.MODEL.CFFM.TARGET_KERNEL = defaults.TARGET_KERNEL
    # Hidden width of the blocks' MLP over their width.
    cfg.MODEL.CFFM.MLP_RATIO = defaults.MLP_RATIO
    # CFFMRecall: how far a cell of the target looks in each past frame, in cells to either side;
    # and the channels by which cells are compared.
    cfg.MODEL.CFFM.RECALL_RADIUS = defaults.RECALL_RADIUS
    cfg.MODEL.CFFM.RECALL_KEY_DIM = defaults.RECALL_KEY_DIM
    # CFFMMemory, which recalls from a memory of all past frames, with the two keys above: how many
    # frames a cell of the memory counts as, at most; and how many of its cells, to either side,
    # CFFM sees as one. Its FRAME_OFFSETS are neighbouring frames, its STRIDE is the head's.
    cfg.MODEL.CFFM.MEMORY_FRAMES = defaults.MEMORY_FRAMES
    cfg.MODEL.CFFM.CONTEXT_POOL = defaults.CONTEXT_POOL


def _add_mrcfa_keys(cfg: CfgNode) -> None:
    # MRCFA. See cffm_plugin.core.MRCFA for what the values mean.
    cfg.MODEL.MRCFA = CfgNode()
    # Three maps of the backbone in which target and past are compared, finest first.
    cfg.MODEL.MRCFA.LEVELS = defaults.MRCFA_LEVELS
    # The share of a past frame's tokens that the target looks at. The paper's: 0.8 for MiT-B0, 0.5
    # for the others.
    cfg.MODEL.MRCFA.KEEP = defaults.MRCFA_KEEP
    # Nets of two convolutions instead of one: the paper's for MiT-B1, and for no other.
    cfg.MODEL.MRCFA.DEEP_NETS = defaults.MRCFA_DEEP_NETS
    # Tokens are chosen by the sum of so many largest affinities.
    cfg.MODEL.MRCFA.SCORE_CELLS = defaults.MRCFA_SCORE_CELLS


def _add_tv3s_keys(cfg: CfgNode) -> None:
    # TV3S. See cffm_plugin.core.TV3S for what the values mean.
    cfg.MODEL.TV3S = CfgNode()
    # How it is used, with the same weights. "clip": every target's state begins anew with its first
    # reference, as in training; the published scores are of this. "stream": the state lives as long
    # as the video, at the cost of one step a frame instead of one for every frame of the clip.
    cfg.MODEL.TV3S.MODE = defaults.TV3S_MODE
    # Number of blocks; odd ones (counted from 0) work on shifted windows.
    cfg.MODEL.TV3S.DEPTH = defaults.TV3S_DEPTH
    # Side of a window, and how far it is shifted, in embedding cells.
    cfg.MODEL.TV3S.WINDOW_SIZE = defaults.TV3S_WINDOW_SIZE
    cfg.MODEL.TV3S.SHIFT = defaults.TV3S_SHIFT
    # States for each channel of the state space models.
    cfg.MODEL.TV3S.NUM_STATES = defaults.TV3S_NUM_STATES
    # Largest rate of stochastic depth in training, for each window by itself.
    cfg.MODEL.TV3S.WINDOW_DROP_RATE = defaults.TV3S_WINDOW_DROP_RATE


def _add_segmentor_keys(cfg: CfgNode) -> None:
    # Another project's heads, backbones, datasets and keys, for every tool. load_config reads both
    # lists before it merges anything else; those of base files and of the command line add up.
    # Modules that register parts when they are imported: "package.module", or "path/to/file.py",
    # relative to the config file that names it (on the command line: to where the command runs).
    cfg.MODEL.IMPORTS = []
    # Functions that are called with the config and add keys to it: "package.module:function", or
    # "path/to/file.py:function".
    cfg.MODEL.CONFIG_ADDERS = []

    # The image segmentor that is wrapped, a meta-architecture. "SemanticSegmentor": backbone and
    # semantic head of this config; "build_hf_segmenter": that of MODEL.HF. Others, such as
    # MaskFormer, are built as their project says.
    cfg.MODEL.IMAGE_ARCHITECTURE = "SemanticSegmentor"

    # Training keeps few activations of backbone and temporal module and computes the others again:
    # less memory, more time, the same gradients.
    cfg.MODEL.ACTIVATION_CHECKPOINTING = False

    # Channel dropout before the classifier of SegFormerHead.
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = 0.1

    # The weights of convolutions, and with them feature maps, in the memory format "channels last".
    cfg.MODEL.CHANNELS_LAST = False


def _add_backbone_keys(cfg: CfgNode) -> None:
    # The Mix Transformer backbone, build_mit_backbone.
    cfg.MODEL.MIT = CfgNode()
    # mit_b0 .. mit_b5, or mit_tiny for tests and the quickstart.
    cfg.MODEL.MIT.NAME = "mit_b1"
    cfg.MODEL.MIT.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
    cfg.MODEL.MIT.DROP_PATH_RATE = defaults.DROP_PATH_RATE
    # Images are padded to multiples of it. 0 for SegFormerHead; 32 for heads that double sizes,
    # such as SemSegFPNHead.
    cfg.MODEL.MIT.SIZE_DIVISIBILITY = 0

    # Detectron2's Swin Transformer as a backbone, build_swin_backbone.
    cfg.MODEL.D2_SWIN = CfgNode()
    # swin_t or swin_s.
    cfg.MODEL.D2_SWIN.NAME = "swin_t"
    cfg.MODEL.D2_SWIN.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
    cfg.MODEL.D2_SWIN.DROP_PATH_RATE = 0.3
    # As for MODEL.MIT: 0 for SegFormerHead; 32 for heads that double sizes, such as SemSegFPNHead.
    cfg.MODEL.D2_SWIN.SIZE_DIVISIBILITY = 0

    # Any model of the library timm as a backbone, build_timm_backbone.
    cfg.MODEL.TIMM = CfgNode()
    # As in timm.list_models(), with or without the tag of its pretrained weights.
    cfg.MODEL.TIMM.NAME = "resnet50"
    # Names by stride, 4 to 32. DeepLabV3PlusHead and others want only some of them. Plain ViTs have
    # one stride; a pyramid, detectron2's SimpleFeaturePyramid, makes all of them.
    cfg.MODEL.TIMM.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # Fetch timm's pretrained weights (network or timm's cache) whenever the model is built.
    cfg.MODEL.TIMM.PRETRAINED = False
    # Or a local file that timm published or saved, .safetensors or .pth.
    cfg.MODEL.TIMM.CHECKPOINT = ""
    # Normalise images as in the model's own pretraining, RGB, whatever MODEL.PIXEL_MEAN,
    # MODEL.PIXEL_STD and INPUT.FORMAT say: resolve_normalization in cffm_plugin.modeling writes it
    # there. False keeps theirs.
    cfg.MODEL.TIMM.OWN_NORMALIZATION = True
    # Largest rate of stochastic depth, for models that have it.
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.0
    # As for MODEL.MIT: 0 for SegFormerHead; 32 for heads that double sizes, such as SemSegFPNHead.
    cfg.MODEL.TIMM.SIZE_DIVISIBILITY = 0

    # The model stays as it was loaded: no gradient, evaluation mode. A plain ViT's pyramid trains.
    cfg.MODEL.TIMM.FREEZE = False
    # Channels of each map of a plain ViT's pyramid.
    cfg.MODEL.TIMM.PYRAMID_CHANNELS = 256


def _add_hugging_face_keys(cfg: CfgNode) -> None:
    # A segmentor of Hugging Face's transformers, with MODEL.IMAGE_ARCHITECTURE build_hf_segmenter.
    cfg.MODEL.HF = CfgNode()
    # A folder that save_pretrained wrote, or a name on the Hugging Face hub (network or its cache).
    cfg.MODEL.HF.NAME = ""
    # Load the model's own weights, in safetensors, whenever it is built. False: its config alone is
    # read, as suffices where MODEL.WEIGHTS holds all.
    cfg.MODEL.HF.PRETRAINED = True
    # The classifier starts anew, for MODEL.SEM_SEG_HEAD.NUM_CLASSES classes. False: the model's
    # own, whose number NUM_CLASSES must be.
    cfg.MODEL.HF.NEW_CLASSIFIER = False
    # Normalise images as the model's own preprocessor_config.json says, as
    # MODEL.TIMM.OWN_NORMALIZATION does. False keeps the config's values.
    cfg.MODEL.HF.OWN_NORMALIZATION = True


def _add_data_keys(cfg: CfgNode) -> None:
    # Frames and masks of more millions of pixels are an error, by their headers, before they fill
    # the memory: 1 to 178.
    cfg.INPUT.MAX_MEGAPIXELS = 100

    cfg.INPUT.CLIP = CfgNode()
    # Frames are scaled to fit in (long side, short side), aspect kept.
    cfg.INPUT.CLIP.FIT_SIZE = (853, 480)
    # Training: both numbers of FIT_SIZE are first multiplied by a ratio drawn from this range.
    cfg.INPUT.CLIP.RATIO_RANGE = (0.5, 2.0)
    # Training: probability that the clip is drawn from the video reversed in time.
    cfg.INPUT.CLIP.REVERSE_PROB = 0.5
    # Training: brightness, contrast, saturation and hue, drawn anew for every frame.
    cfg.INPUT.CLIP.COLOR_DISTORTION = True
    # Test: both sides are brought to the next multiple by a second resize, aspect not kept.
    cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY = 32

    # YAML files that describe folders of videos, to use under their names in TRAIN and TEST; see
    # datasets/README.md. Paths are relative to where the command runs; those in a run's saved
    # config.yaml are absolute.
    cfg.DATASETS.VIDEO_FOLDERS = ()

    # Training: "videos" draws every video equally often, however long it is (VSPW); "targets" every
    # labelled frame that can be a clip's target, for datasets of few and long videos.
    cfg.DATALOADER.UNIFORM_OVER = "videos"


def _add_test_keys(cfg: CfgNode) -> None:
    # Test-time augmentation, with TEST.AUG.ENABLED and TEST.AUG.FLIP: FIT_SIZE times each of these.
    cfg.TEST.AUG.SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)

    # Evaluate videos as streams: every frame is read and encoded once. False: as clips, the same
    # result at several times the cost; but of a recurrent module, which then starts every clip as a
    # new video.
    cfg.TEST.STREAMING = True

    # Mixed precision of streams, evaluation and the demo: "bfloat16", "float16", or "" for none.
    # Weights are cast once; sums, norms of the temporal module and logits stay in float32.
    cfg.TEST.AUTOCAST = ""
    # Parts that stay in float32 then: "backbone", "head", "temporal".
    cfg.TEST.FLOAT32_PARTS = ()
    # The share of labels that must then be those of float32, which segments the first frame of each
    # size as well; 0 compares nothing. Where fewer are: True goes on in float32, and the log says
    # so; False is an error.
    cfg.TEST.AUTOCAST_AGREEMENT = 0.995
    cfg.TEST.AUTOCAST_FALLBACK = True
    # They go through torch.compile: slow to start, then faster, most of all on a GPU.
    cfg.TEST.COMPILE = False
    # The share of the past in every frame's class probabilities, averaged over a stream: 0 for
    # none, below 1. It makes any model's video steadier, and blurs what moves.
    cfg.TEST.SMOOTHING = 0.0
    # Videos that a StreamingSegmentor takes at a time: one more is an error, so that streams that
    # nobody resets can't fill the memory.
    cfg.TEST.MAX_STREAMS = 256

    # Prediction PNGs with the dataset's palette, and raw class indices, under
    # <output>/inference/result_submission/<video>/<frame>.png.
    cfg.TEST.SAVE_PREDICTIONS = False
    # Evaluation's results and curves also hold mVC8_vspw (VSPW's rule for short videos) and mVC8+16
    # (what DVIS++, PMT and VidEoMT publish as VC16), as the log and vspw_results.json always do;
    # docs/reproduce.md.
    cfg.TEST.ALL_VC = False
    # After the last evaluation, `cffm train` makes <output>/report/index.html: numbers and players
    # to look at, of the predictions, which must be saved. docs/report.md
    cfg.TEST.REPORT = False
    # Players in it: of so many worst and so many best videos.
    cfg.TEST.REPORT_PLAYERS = 10


def _add_engine_keys(cfg: CfgNode) -> None:
    # With several processes: for how many seconds one may not come, or give no sign of life, before
    # the others end with an error that names it. 0: 600 with NCCL, 120 with gloo.
    cfg.DISTRIBUTED = CfgNode()
    cfg.DISTRIBUTED.TIMEOUT = 0

    # torch.compile, where SOLVER.COMPILE or TEST.COMPILE asks for it: its backend; and the mode of
    # "inductor": "" for its default, "reduce-overhead" for CUDA graphs, "max-autotune".
    cfg.COMPILE = CfgNode()
    cfg.COMPILE.BACKEND = "inductor"
    cfg.COMPILE.MODE = ""

    # An optimiser step takes IMS_PER_BATCH clips, and feeds each process's share in so many parts.
    # Iterations are optimiser steps. (BatchNorm sees a part at a time.)
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # The kind of mixed precision that detectron2's AMP.ENABLED turns on: "float16", with a gradient
    # scaler, on CUDA alone; or "bfloat16", without one, on CPUs too.
    cfg.SOLVER.AMP.PRECISION = "float16"
    # Backbone and temporal module train through torch.compile: slow to start, then faster.
    cfg.SOLVER.COMPILE = False
    # The optimiser updates all parameters in one kernel: the same step but for rounding.
    cfg.SOLVER.FUSED = False
    # "AdamW", "Adam" or "SGD", in any case, over the parameter groups that the keys below describe.
    # It must be said where BASE_LR is set.
    cfg.SOLVER.OPTIMIZER = ""
    cfg.SOLVER.BETAS = (0.9, 0.999)
    # Learning rate of everything but the backbone, over BASE_LR; the pyramid on a plain ViT is not
    # counted to the backbone here.
    cfg.SOLVER.HEAD_LR_MULTIPLIER = 10.0
    # Weight decay of the backbone's normalisation layers (those of the heads decay as usual).
    cfg.SOLVER.BACKBONE_WEIGHT_DECAY_NORM = 0.0
    # Plain ViTs: the learning rate of block i of n is the backbone's times this to the power of
    # n + 1 - i, with i = 0 for patch and position embeddings. 1: the same rate for all.
    cfg.SOLVER.LAYER_DECAY = 1.0
    # How many numbered checkpoints stay, the newest; 0 for all. model_final.pth always does.
    cfg.SOLVER.KEEP_CHECKPOINTS = 0
    # Training stops at a loss that is so many times the mean of the first 5. 0: it never does.
    cfg.SOLVER.MAX_LOSS_GROWTH = 100.0

    # detectron2's VIS_PERIOD: 0 for no pictures; N for one of a clip with labels and predictions
    # after every N steps, and of the first batch, in TensorBoard (and W&B).

    # Curves and pictures go to Weights & Biases too; needs wandb, and that you are logged in.
    cfg.WANDB = CfgNode()
    cfg.WANDB.ENABLED = False
    cfg.WANDB.PROJECT = "cffm_plugin"
    # The team or user, and the run's name; "" for W&B's own choice.
    cfg.WANDB.ENTITY = ""
    cfg.WANDB.NAME = ""
    cfg.WANDB.TAGS = ()


def _fill_in(cfg: CfgNode, additions: CfgNode, prefix: str = "") -> None:
    """Add the keys that ``cfg`` does not have; all others keep their values."""
    for key, value in additions.items():
        if key not in cfg:
            cfg[key] = value
        elif isinstance(value, CfgNode):
            if not isinstance(cfg[key], CfgNode):
                raise ValueError(
                    f"{prefix}{key} was replaced by {cfg[key]!r}, and this package and detectron2 "
                    f"have the keys {', '.join(value)} there. A function of MODEL.CONFIG_ADDERS "
                    "did it: give its key another name."
                )
            _fill_in(cfg[key], value, f"{prefix}{key}.")


def load_config(config_file: str = "", overrides: Sequence[str] = ()) -> CfgNode:
    """Detectron2's defaults, the keys of this package, a config file, then ``KEY VALUE`` overrides.

    What MODEL.IMPORTS and MODEL.CONFIG_ADDERS name, in the file, its bases or the overrides, is
    imported and called before, and stands there with absolute paths afterwards.

    Args:
        config_file: a YAML file, or the name of one that this package ships, such as
            "vspw/cffm_mit_b1"; "" for the defaults alone.
        overrides: a flat sequence ``["KEY", "VALUE", ...]``.

    Raises:
        FileNotFoundError: there is no such config file, nor one of that name.
        KeyError: a key that does not exist, with the nearest ones that do.
        ValueError: overrides that are not pairs, a value of the wrong type, or a module or function
            of another project that can't be imported.
    """
    cfg = get_cfg()
    add_cffm_config(cfg)
    merge_config(cfg, config_file, overrides)
    return cfg


def merge_config(cfg: CfgNode, config_file: str = "", overrides: Sequence[str] = ()) -> None:
    """Merge a file and overrides into ``cfg``; see ``load_config`` for what it raises."""
    if config_file:
        config_file = find_config_file(config_file)
    check_pairs(overrides)
    files = list(files_of_config(config_file)) if config_file else []

    def merge_file(cfg: CfgNode) -> None:
        if files:
            with _one_name_is_a_list(cfg, config_file), files_at_hand(cfg, files):
                _merge_file(cfg, config_file)

    merge_under_overrides(cfg, merge_file, overrides, files)


def check_pairs(overrides: Sequence[str]) -> None:
    """
    Raises:
        ValueError: overrides that are not pairs, KEY VALUE.
    """
    if len(overrides) % 2:
        raise ValueError(
            f"Overrides come in pairs, KEY VALUE, but these are {len(overrides)} words: "
            f"{' '.join(overrides)}"
        )


def merge_under_overrides(
    cfg: CfgNode,
    merge: Callable[[CfgNode], None],
    overrides: Sequence[str],
    files: Iterable[tuple[str, dict[str, Any]]] = (),
) -> None:
    """Add other projects' keys, merge what is given, and ``KEY VALUE`` pairs over it.

    Args:
        cfg: with the keys of this package; changed in place.
        merge: merges into it what stands below the overrides.
        overrides: see ``load_config``, and for what it raises.
        files: what other projects' parts are named in, beside the overrides.
    """
    known = {IMPORTS: cfg.MODEL.IMPORTS, ADDERS: cfg.MODEL.CONFIG_ADDERS}
    foreign = add_foreign_parts(cfg, files, overrides, known)
    add_cffm_config(cfg)  # again: OneFormer's function makes WANDB anew, with its own keys alone
    merge(cfg)
    _merge_overrides(cfg, overrides)
    for key, entries in foreign.items():
        node, name = _node_of(cfg, key)
        node[name] = entries


def _merge_file(cfg: CfgNode, config_file: str) -> None:
    try:
        cfg.merge_from_file(config_file)
    except KeyError as error:  # "Non-existent config key: X", "Key X was renamed to Y; ..."
        key = re.search(r"[Kk]ey:? (\S+)", str(error.args[0]))
        if key is None:
            raise
        raise _unknown_key(cfg, key[1], config_file) from None
    except ValueError as error:
        said = str(error)
        named = said if config_file in said else f"{config_file}: {said}"
        raise ValueError(named) from error


def _merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    try:
        with _one_name_is_a_list(cfg, "the command line"):
            cfg.merge_from_list(list(overrides))
    except (KeyError, AssertionError) as error:
        known = _all_keys(cfg)
        unknown = next((key for key in overrides[::2] if key not in known), None)
        if unknown is None:
            raise
        raise _unknown_key(cfg, unknown, "the command line") from error


@contextmanager
def _one_name_is_a_list(cfg: CfgNode, source: str) -> Iterator[None]:
    """While something is merged, keys that hold lists of names take a single name too."""
    before = {}
    for key in _LISTS_OF_NAMES:
        node, name = _node_of(cfg, key)
        before[key], node[name] = node[name], None  # yacs lets None become anything
    try:
        yield
        for key, example in _LISTS_OF_NAMES.items():
            node, name = _node_of(cfg, key)
            names = list_of_texts(node[name])
            if names is None:
                raise ValueError(
                    f"{source}: {key}: expected names, written as \"('{example}',)\", or one name "
                    f"alone; got {node[name]!r}"
                )
            if node[name] is not None:
                before[key] = type(before[key])(names)
    finally:
        for key, value in before.items():
            node, name = _node_of(cfg, key)
            node[name] = value


def _node_of(cfg: CfgNode, key: str) -> tuple[CfgNode, str]:
    *nodes, name = key.split(".")
    for node in nodes:
        cfg = cfg[node]
    return cfg, name


def with_values(cfg: CfgNode, values: Mapping[str, Any]) -> CfgNode:
    """A frozen copy with other values, by full keys such as "MODEL.DEVICE"."""
    changed = cfg.clone()
    changed.defrost()
    set_values(changed, values)
    changed.freeze()
    return changed


def set_values(cfg: CfgNode, values: Mapping[str, Any]) -> None:
    """Set values, in place, by full keys. Raises AttributeError: the config is frozen."""
    for key, value in values.items():
        node, name = _node_of(cfg, key)
        setattr(node, name, value)


# Paths that a run's saved config must hold in a form that every other folder understands.
_PATHS = (
    *("OUTPUT_DIR", "MODEL.TIMM.CHECKPOINT", "MODEL.TEMPORAL.PROTOTYPES.FOLDER"),
    "DATASETS.VIDEO_FOLDERS",
)


def make_paths_absolute(cfg: CfgNode) -> None:
    """Make paths that are relative to the working directory absolute, in place.

    MODEL.WEIGHTS and MODEL.HF.NAME are some where they exist: they may also be names that
    detectron2, or the Hugging Face hub, resolves.
    """
    for node, name in ((cfg.MODEL, "WEIGHTS"), (cfg.MODEL.HF, "NAME")):
        if os.path.exists(os.path.expanduser(node[name])):
            node[name] = absolute_path(node[name])
    for key in _PATHS:
        node, name = _node_of(cfg, key)
        value = node[name]
        if isinstance(value, str):
            node[name] = absolute_path(value)
        else:
            node[name] = type(value)(map(absolute_path, value))


def absolute_path(path: str) -> str:
    """A path in absolute form; "" and what is no path of this machine, such as a URL, as it is."""
    return path if not path or "://" in path else os.path.abspath(os.path.expanduser(path))


def flat_values(cfg: CfgNode) -> dict[str, Any]:
    """Key, such as "INPUT.CLIP.FIT_SIZE" -> value, as JSON gives it back: tuples are lists."""
    flat: dict[str, Any] = {}
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            flat |= {f"{name}.{key}": entry for key, entry in flat_values(value).items()}
        else:
            flat[name] = json.loads(json.dumps(value))
    return flat


def _unknown_key(cfg: CfgNode, key: str, source: str) -> KeyError:
    message = f"{source}: there is no config key {key}."
    elsewhere = "If it is another project's, name the function that adds it in MODEL.CONFIG_ADDERS."
    keys = _all_keys(cfg)
    nearest = difflib.get_close_matches(key, keys, n=3) or [
        k for k in keys if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]
    ]
    if nearest:
        message += f" Did you mean {' or '.join(nearest)}?"
    return KeyError(f"{message} {elsewhere}")


def _all_keys(cfg: CfgNode, prefix: str = "") -> list[str]:
    keys = []
    for name, value in cfg.items():
        keys.append(prefix + name)
        if isinstance(value, CfgNode):
            keys += _all_keys(value, f"{prefix}{name}.")
    return keys
