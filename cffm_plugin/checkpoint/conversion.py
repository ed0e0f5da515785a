"""Conversion of other implementations' checkpoints to this package's names.

A format is a table of rules. Every key of the source becomes something of ours, or is left out for
a reason that stands in the table, or is an error that names it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .efficientnet_lite0 import EFFICIENTNET_LITE0
from .huggingface import HUGGING_FACE
from .mmseg import MMSEG
from .official import OFFICIAL_CFFM, OFFICIAL_CFFM_PLUS, OFFICIAL_MRCFA
from .official_tv3s import OFFICIAL_TV3S, SWIN_IMAGENET
from .rules import ENCODER, SWIN_ENCODER, Drop, Format, Piece, Refuse, Rule, Split
from .segformer import MIT_ENCODER, SEGFORMER

FORMATS: tuple[Format, ...] = (
    OFFICIAL_CFFM,
    OFFICIAL_CFFM_PLUS,
    OFFICIAL_MRCFA,
    OFFICIAL_TV3S,
    SEGFORMER,
    MIT_ENCODER,
    SWIN_IMAGENET,
    HUGGING_FACE,
    MMSEG,
    EFFICIENTNET_LITE0,
)
OUR_HEADS = ("sem_seg_head.", "temporal.", "prototype_branch.")
_CLASSIFIER = r"(^|\.)(predictor|classifier|class_embed|output\.auxiliary\.\d+)\.[^.]+$"
OUR_ENCODERS = rf"backbone\.({ENCODER}|{SWIN_ENCODER}|extractor\..+)"
THEIR_HEADS = ("decode_head.", "auxiliary_head.")


@dataclass
class Conversion:
    """A converted checkpoint.

    Attributes:
        source: name of the format that the input was recognised as.
        weights: ours, name -> tensor.
        used: source key -> our names that it became, or became a part of.
        dropped: source key left out -> the reason. ``key[a:b]`` are rows of a key that is used.
        num_classes: of the source's classifiers; None if it has none.
        prefix: what stood before all keys of the source, which are here without it.
    """

    source: str
    weights: dict[str, Tensor] = field(default_factory=dict)
    used: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    num_classes: int | None = None
    prefix: str = ""


def is_classifier(name: str) -> bool:
    """Whether a weight's name, ours, is that of a classifier: its shape starts with K."""
    return re.search(_CLASSIFIER, name) is not None


def recognise(keys: Iterable[str]) -> str:
    """Name of the format that a state dict's keys are in.

    Raises:
        ValueError: none of those that can be converted; or ours, which needs no conversion.
    """
    keys = list(keys)
    keys = _behind(prefix_before_known_names(keys), keys)
    if _are_ours(keys):
        raise ValueError(
            "this checkpoint has this package's own names already: use it as MODEL.WEIGHTS"
        )
    for candidate in FORMATS:
        if candidate.fits(keys):
            return candidate.name
    some = ", ".join(keys[:3])
    raise ValueError(
        f"can't tell what kind of checkpoint this is; its keys are like: {some}. "
        f"Known formats: {'; '.join(known.name for known in FORMATS)}."
    )


def prefix_before_known_names(keys: Sequence[str]) -> str:
    """What stands before all names of a known format, such as Lightning's "model."; mostly "".

    It ends in a dot, and is the shortest one.
    """
    parts = keys[0].split(".")[:-1] if keys else []
    for count in range(len(parts) + 1):
        prefix = "".join(f"{part}." for part in parts[:count])
        if not all(key.startswith(prefix) for key in keys):
            break
        names = _behind(prefix, keys)
        if _are_ours(names) or any(known.fits(names) for known in FORMATS):
            return prefix
    return ""


def _behind(prefix: str, keys: Iterable[str]) -> list[str]:
    return [key.removeprefix(prefix) for key in keys]


def _are_ours(keys: Sequence[str]) -> bool:
    return any(key.startswith(OUR_HEADS) for key in keys) or (
        bool(keys) and all(re.fullmatch(OUR_ENCODERS, key) for key in keys)
    )


def find_rule(key: str, source: str) -> tuple[Rule, tuple[str, ...]] | None:
    """What the table of a format says of a key: the rule, and our names (none if left out)."""
    found = _format(source).find(key)
    return None if found is None else (found[0], found[0].names(found[1]))


def convert(
    state_dict: Mapping[str, Tensor],
    *,
    encoder_only: bool = False,
    num_classes: int | None = None,
    new_classifier: bool = False,
) -> Conversion:
    """Bring a state dict of any known format to our names.

    Args:
        state_dict: theirs.
        encoder_only: leave the heads out.
        num_classes: what the classifiers must have; None for whatever they have.
        new_classifier: leave the classifiers out, whatever they have: training starts them anew.

    Raises:
        ValueError: the format is unknown; a key fits none of its rules, or can't be represented;
            another number of classes.
    """
    prefix = prefix_before_known_names(list(state_dict))
    state_dict = {key.removeprefix(prefix): tensor for key, tensor in state_dict.items()}
    conversion = Conversion(recognise(state_dict), prefix=prefix)
    table = _format(conversion.source)
    pieces: dict[str, list[tuple[str, Piece]]] = defaultdict(list)
    left_over: list[str] = []
    refused: dict[str, str] = {}
    for key, tensor in state_dict.items():
        found = table.find(key)
        if encoder_only and _is_of_a_head(key, found):
            conversion.dropped[key] = "not of the encoder, as asked"
            continue
        if found is None:
            left_over.append(key)
            continue
        rule, match = found
        if isinstance(rule, Drop):
            conversion.dropped[key] = rule.reason
        elif isinstance(rule, Refuse):
            refused[key] = rule.reason
        else:
            for piece in rule.pieces(match, tensor):
                pieces[piece.name].append((key, piece))
            conversion.used[key] = rule.names(match)
            if isinstance(rule, Split):
                conversion.dropped |= dict.fromkeys(rule.left_out(match, tensor), rule.reason)
    _raise_for(conversion.source, len(state_dict), left_over, refused)
    conversion.weights = {name: _assemble(name, parts) for name, parts in pieces.items()}
    _settle_classifiers(conversion, num_classes, new_classifier)
    return conversion


def _format(name: str) -> Format:
    return next(known for known in FORMATS if known.name == name)


def _is_of_a_head(key: str, found: tuple[Rule, re.Match] | None) -> bool:
    if found is None:
        return key.startswith(THEIR_HEADS)
    rule, match = found
    names = rule.names(match)
    return isinstance(rule, Refuse) or any(not name.startswith("backbone.") for name in names)


def _raise_for(source: str, total: int, left_over: list[str], refused: dict[str, str]) -> None:
    if left_over:
        raise ValueError(
            f"recognised as {source}, but {len(left_over)} of {total} keys have no place in our "
            f"model: {', '.join(left_over[:5])}. Nothing was converted."
        )
    for reason in sorted(set(refused.values())):
        keys = [key for key, why in refused.items() if why == reason]
        raise ValueError(
            f"recognised as {source}, but {len(keys)} of {total} keys, like {keys[0]}, can't be "
            f"converted: {reason}. Nothing was converted. The encoder alone can be: --encoder-only."
        )


def _assemble(name: str, parts: list[tuple[str, Piece]]) -> Tensor:
    """A tensor of ours out of the pieces that were found for it."""
    by_index = {piece.part: piece for _, piece in parts}
    keys = " and ".join(key for key, _ in parts)
    if len(by_index) < len(parts):
        raise ValueError(f"{keys} would both become {name}: the checkpoint mixes two spellings")
    expected = parts[0][1].parts
    if len(parts) < expected:
        raise ValueError(f"{name} is made of {expected} tensors, the checkpoint has only {keys}")
    tensors = [by_index[part].tensor for part in range(expected)]
    return tensors[0] if expected == 1 else torch.cat(tensors)


def _settle_classifiers(
    conversion: Conversion, num_classes: int | None, new_classifier: bool
) -> None:
    """Note how many classes there are; leave the classifiers out, or compare with what is asked."""
    sizes = {n: len(t) for n, t in conversion.weights.items() if is_classifier(n)}
    if not sizes:
        return
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the classifiers differ in their number of classes: {sizes}")
    conversion.num_classes = next(iter(sizes.values()))
    if new_classifier:
        reason = f"a classifier of {conversion.num_classes} classes; training starts it anew"
        for key in [key for key, names in conversion.used.items() if is_classifier(names[0])]:
            conversion.dropped[key] = reason
            for name in conversion.used.pop(key):
                del conversion.weights[name]
    elif num_classes is not None and num_classes != conversion.num_classes:
        raise ValueError(
            f"the classifiers are for {conversion.num_classes} classes, not {num_classes}. "
            "Nothing was converted. --new-classifier leaves them out, so that training starts "
            "them anew."
        )
