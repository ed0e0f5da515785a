"""Models of transformers that take images of more sizes, or images alone, with a little help."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class RectangularDPT(nn.Module):
    """DPT that tells its neck how many patches an image has; by itself it takes a square number
    for a square.

    Args:
        net: of transformers.
    """

    def __init__(self, net: Any):
        super().__init__()
        self.net = net
        backbone = getattr(net.config, "backbone_config", None)
        patch_size = getattr(backbone, "patch_size", None) or net.config.patch_size
        self._patch_size = _pair(patch_size)

    def forward(self, images: Tensor) -> Any:
        """(N, 3, H, W) -> what the model gives."""
        patches = [side // patch for side, patch in zip(images.shape[-2:], self._patch_size)]

        def tell(neck: nn.Module, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return args, given | {"patch_height": patches[0], "patch_width": patches[1]}

        hook = self.net.neck.register_forward_pre_hook(tell, with_kwargs=True)
        try:
            return self.net(images)
        finally:
            hook.remove()


class AnyGridEomt(nn.Module):
    """EoMT on DINOv3, whose positions are rotations, for any number of patches.

    Args:
        net: of transformers.
    """

    def __init__(self, net: Any):
        super().__init__()
        self.net = net
        self._patch_size = _pair(net.config.patch_size)

    def forward(self, images: Tensor) -> Any:
        """(N, 3, H, W) -> what the model gives."""
        patches = (side // patch for side, patch in zip(images.shape[-2:], self._patch_size))
        self.net.grid_size = tuple(patches)
        return self.net(images)


class AllLayersMaskFormer(nn.Module):
    """MaskFormer that gives every decoder layer's prediction, where it trains with these; by itself
    it raises an error there, unless it is asked for hidden states.

    Args:
        net: of transformers.
    """

    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        """(N, 3, H, W) -> what the model gives."""
        return self.net(images, output_hidden_states=self.net.config.use_auxiliary_loss)


class SemanticOneFormer(nn.Module):
    """OneFormer that is asked for semantic segmentation.

    Args:
        net: of transformers.
        task: what its tokenizer makes of that task, (1, L).

    Raises:
        ValueError: transformers loses some of its layers.
    """

    task: Tensor

    def __init__(self, net: Any, task: Tensor):
        super().__init__()
        config = net.config
        if config.conv_dim != config.hidden_dim or config.enforce_input_proj:
            raise ValueError(
                "OneFormer with conv_dim other than hidden_dim can't be wrapped: transformers "
                "keeps the layers between them (input_projections) in a list, neither saves nor "
                "loads them, and what such a model gives means nothing."
            )
        self.net = net
        self.register_buffer("task", task.float())

    def forward(self, images: Tensor) -> Any:
        """(N, 3, H, W) -> what the model gives."""
        return self.net(images, self.task.expand(len(images), -1))


def task_of(net: Any, processor: Any, task_inputs: Sequence[int] | None) -> Tensor:
    """The tokens of "semantic", (1, L).

    Args:
        net: OneFormer.
        processor: of transformers, with a tokenizer; or None.
        task_inputs: the tokens; or None.

    Raises:
        ValueError: nobody says them.
    """
    if task_inputs is None and getattr(processor, "tokenizer", None) is not None:
        length = getattr(processor, "task_seq_length", net.config.task_seq_len)
        options = {"padding": "max_length", "max_length": length, "truncation": True}
        tokens = processor.tokenizer(["the task is semantic"], **options)
        # As its processor does it: what is padding counts 0.
        pairs = zip(tokens["input_ids"][0], tokens["attention_mask"][0])
        task_inputs = [token * mask for token, mask in pairs]
    if task_inputs is None:
        raise ValueError(
            "OneFormer needs its task as tokens: pass processor=, its OneFormerProcessor, or "
            "task_inputs=, what that makes of ['semantic']"
        )
    return torch.tensor([list(task_inputs)], dtype=torch.float32)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
