"""A model of Hugging Face's with the weights of its own files."""

from typing import Any

import torch

from .huggingface_files import transformers


def check_number_of_classes(name: str, own: int, num_classes: int) -> None:
    """
    Args:
        name: of the model.
        own: the classes that it tells apart.
        num_classes: those that are wanted.

    Raises:
        ValueError: they differ.
    """
    if num_classes != own:
        raise ValueError(
            f"MODEL.HF.NAME: {name} tells {own} classes apart, but MODEL.SEM_SEG_HEAD.NUM_CLASSES "
            f"is {num_classes}. For the model's own classes: MODEL.SEM_SEG_HEAD.NUM_CLASSES {own}. "
            f"To train it for {num_classes} others: MODEL.HF.NEW_CLASSIFIER True."
        )


def load_model(name: str, config: Any, architecture: str, pretrained: bool = True) -> Any:
    """Build a model by ``from_pretrained``, or of its config alone.

    Weights are read from safetensors, in float32; no code of the model's folder is run. Layers of
    another number of classes than the config's start anew.

    Args:
        name: a local folder, or a name on the Hugging Face hub.
        config: of transformers.
        architecture: the name of its class in transformers.
        pretrained: load weights; False for random ones.

    Raises:
        FileNotFoundError: there are no weights in safetensors.
        ValueError: the weights are of another model, or some are missing.
    """
    cls = getattr(transformers, architecture)
    if not pretrained:
        return cls(config)
    try:
        model, report = cls.from_pretrained(
            name,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except OSError as error:
        raise FileNotFoundError(
            f"{name} (net, or MODEL.HF.NAME): there are no weights of it in safetensors. With "
            "MODEL.HF.PRETRAINED False they are not needed, and those of MODEL.WEIGHTS are taken. "
            f"transformers says: {error}"
        ) from error
    wrong = [key for key in report["missing_keys"] if not key.endswith("num_batches_tracked")]
    # K rows, or K + 1 with "no object", are layers of another number of classes.
    class_counts = (config.num_labels, config.num_labels + 1)
    wrong += [key for key, _, ours in report["mismatched_keys"] if ours[0] not in class_counts]
    if wrong:
        raise ValueError(
            f"{name} (net, or MODEL.HF.NAME): its weights are not those of its config.json. "
            f"Missing, or of another shape: {', '.join(sorted(wrong)[:6])}"
        )
    return model
