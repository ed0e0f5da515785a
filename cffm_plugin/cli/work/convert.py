"""What `cffm convert` does, with the arguments of ``cffm_plugin.cli.convert``."""

import argparse
from dataclasses import replace

import torch

from ...checkpoint import (
    HUGGING_FACE,
    INFO_KEY,
    Conversion,
    ModelInfo,
    Sizes,
    config_for,
    convert,
    hub_info,
    overrides_for,
    read_state_dict,
    sizes_of,
    verify_complete,
)
from ...config import load_config
from ...files import whole_file
from ...hub_files import HubFileError, fetch_model_folder, is_on_hub


def run(args: argparse.Namespace) -> None:
    try:
        if is_on_hub(args.input):
            args.input = str(fetch_model_folder(args.input))
        state_dict = read_state_dict(args.input)
        conversion = convert(
            state_dict,
            encoder_only=args.encoder_only,
            num_classes=args.num_classes,
            new_classifier=args.new_classifier,
        )
        parameters = verify_complete(conversion.weights, new_classifier=args.new_classifier)
    except (ValueError, FileNotFoundError, HubFileError) as error:
        raise ValueError(f"{args.input}: {error}") from error

    sizes = sizes_of(conversion.weights)
    info = known_of(args, conversion)
    if args.check:
        print_table(state_dict, conversion)
    print(f"{args.input}: {conversion.source}")
    print_sizes(sizes, conversion)
    print_known(info)
    print(f"{len(conversion.weights)} tensors converted, {parameters / 1e6:.2f} M parameters")
    for reason in sorted(set(conversion.dropped.values())):
        names = [name for name, why in conversion.dropped.items() if why == reason]
        print(f"{len(names)} left out, {reason}: {names[0]}{', ...' if len(names) > 1 else ''}")
    print(f"Fits {config_hint(sizes, args.num_classes)}")
    complete = "complete for a strict load"
    if args.new_classifier and conversion.num_classes is not None:
        complete += " but for the classifiers: to train from, not to evaluate"
    if args.check:
        print(f"Nothing written (--check); {complete}")
        return
    # To an open file: of a path, torch forgets the system's error.
    with whole_file(args.output) as partial, partial.open("wb") as file:
        torch.save({"model": conversion.weights, **info}, file)
    print(f"Written to {args.output}, {complete}")


def print_table(state_dict: dict[str, torch.Tensor], conversion: Conversion) -> None:
    """Every key of the source with its shape, and what becomes of it."""
    rows = []
    for full_key, tensor in state_dict.items():
        key = full_key.removeprefix(conversion.prefix)
        source = f"{full_key} {tuple(tensor.shape)}"
        for name in conversion.used.get(key, ()):
            rows.append((source, f"{name} {tuple(conversion.weights[name].shape)}"))
        if key in conversion.dropped:
            rows.append((source, f"left out: {conversion.dropped[key]}"))
    rows += [
        (key, f"left out: {reason}")
        for key, reason in conversion.dropped.items()
        if conversion.prefix + key not in state_dict  # rows of a key that is used
    ]
    width = max(len(source) for source, _ in rows)
    for source, ours in rows:
        print(f"{source:<{width}} -> {ours}")
    print()


def print_sizes(sizes: Sizes, conversion: Conversion) -> None:
    temporal = {
        "": "none",
        "CFFM": f"CFFM, depth {sizes.temporal_depth}",
        "TV3S": f"TV3S, depth {sizes.temporal_depth}",
        "MRCFA": f"MRCFA, {'deep' if sizes.deep_nets else 'shallow'} nets",
    }[sizes.temporal]
    described = {
        "encoder": sizes.variant,
        "classes": conversion.num_classes or "no classifier",
        "embedding width": sizes.embedding_channels or "no head",
        "temporal part": temporal
        + (", with CFFM++'s branch" if sizes.has_prototype_branch else ""),
    }
    for what, value in described.items():
        print(f"  {what:<16} {value}")


def known_of(args: argparse.Namespace, conversion: Conversion) -> dict[str, dict]:
    """What is known of the model beside its weights, to be written; {} if nothing is."""
    if conversion.source != HUGGING_FACE.name:
        return {}
    kept = None if args.new_classifier else conversion.num_classes
    info = hub_info(args.input, kept)
    return {} if info == ModelInfo() else {INFO_KEY: info.as_dict()}


def print_known(info: dict[str, dict]) -> None:
    for stored in info.values():
        if names := stored["class_names"]:
            more = ", ..." if len(names) > 5 else ""
            print(f"  {'class names':<16} {', '.join(names[:5])}{more}")
        if normalization := ModelInfo.from_dict(stored).normalization:
            print(f"  {'normalisation':<16} {normalization}")


def config_hint(sizes: Sizes, num_classes: int | None) -> str:
    """The config that the weights fit, with the overrides that they need."""
    config = config_for(sizes)
    fitted = replace(sizes, num_classes=sizes.num_classes or num_classes)
    overrides = overrides_for(fitted, load_config(config))
    hint = " ".join([config, *overrides])
    if sizes.embedding_channels is None:
        return f"{hint}, as what training starts from"
    if not sizes.temporal:
        hint += f"; and {config.replace('segformer', 'cffm')} likewise, to train CFFM on top"
    return hint
