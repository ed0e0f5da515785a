"""A net that stays whole as a backbone and a head: what enters its classifier is the embedding."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .head_embedding import HeadEmbedding, hooked
from .label_maps import Upsampling

# Logits and labels -> a loss, or losses by name; see ``Classifiers``.
Loss = Callable[[Tensor, Tensor], Tensor | Mapping[str, Tensor]]


class TappedNet(nn.Module):
    """A net as a backbone: the feature map "embedding" is what enters its classifiers.

    Args:
        net: images (N, 3, H, W) to logits.
        classifiers: names of its layers that classify: one, or several of which it adds up what
            they give, as LR-ASPP does. Their inputs are concatenated.
        size_divisibility: what images are padded to a multiple of; 0 for none.
        image_size: the one side of images that it takes, to which they are padded; None for any.
    """

    def __init__(
        self,
        net: nn.Module,
        classifiers: Sequence[str],
        size_divisibility: int = 0,
        image_size: int | None = None,
    ):
        super().__init__()
        self.net = net
        self.size_divisibility = size_divisibility
        self.padding_constraints = {"square_size": image_size} if image_size else {}
        self._names = tuple(classifiers)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        hooks = [
            self.net.get_submodule(name).register_forward_pre_hook(
                lambda layer, args, name=name: found.update({name: channels_first(layer, args[0])})
            )
            for name in self._names
        ]
        with hooked(hooks):
            self.net(images)
        given = [found[name] for name in self._names]
        return {"embedding": torch.cat(given, dim=1) if len(given) > 1 else given[0]}


class Classifiers(nn.Module):
    """The layers of a net that classify, as a head; their weights are the net's.

    Each takes its part of the channels; what they give is added up. One logit, of a net that says
    of every pixel whether it belongs to the one class, is two classes: it is class 1's, and class
    0's is 0. So a pixel is of class 1 where its sigmoid is above 0.5, and the cross entropy is the
    binary one.

    Args:
        layers: of the net.
        widths: channels of the embedding that each takes.
        stride: of the embedding.
        num_outputs: K logits, or 1.
        upsampling: what follows.
        ignore_value: label of pixels without a class.
        loss: what it is trained with; by default the cross entropy over all pixels. It takes logits
            (N, K, H, W) and labels (N, H, W) int64, ``ignore_value`` included; where there is one
            logit both are (N, 1, H, W), and the labels float.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        widths: Sequence[int],
        *,
        stride: int,
        num_outputs: int,
        upsampling: Upsampling,
        ignore_value: int = 255,
        loss: Loss | None = None,
    ):
        super().__init__()
        self._layers = (*layers,)  # a tuple, so that the weights have one name
        self._widths = list(widths)
        self._upsampling = upsampling
        self.is_binary = num_outputs == 1
        self.num_classes = 2 if self.is_binary else num_outputs
        self.embedding_channels = sum(widths)
        self.embedding_stride = stride
        self.ignore_value = ignore_value
        self.loss = loss
        if loss is not None:
            self.losses = self._losses_of_loss

    def embed(self, features: Mapping[str, Tensor]) -> tuple[Tensor, None]:
        return features["embedding"], None

    def classify(self, embedding: Tensor, context: Any) -> Tensor:
        if len(self._layers) == 1:
            logits = _apply(self._layers[0], embedding)
        else:
            parts = embedding.split(self._widths, dim=1)
            given = [_apply(layer, part) for layer, part in zip(self._layers, parts)]
            logits = torch.stack(given).sum(dim=0)
        return two_classes(logits) if self.is_binary else logits

    def _losses_of_loss(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        assert self.loss is not None
        if self.is_binary:
            logits, labels = logits[:, 1:] - logits[:, :1], labels[:, None].float()
        losses = self.loss(self._upsampling.resize(logits, labels.shape[-2:]), labels)
        return dict(losses) if isinstance(losses, Mapping) else {"loss_sem_seg": losses}


def channels_first(layer: nn.Module, maps: Tensor) -> Tensor:
    """What enters or leaves a layer, as (N, C, h, w): linear maps have the channels last."""
    return maps.permute(0, 3, 1, 2) if isinstance(layer, nn.Linear) and maps.dim() == 4 else maps


def _apply(layer: nn.Module, embedding: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, K, h, w)."""
    if isinstance(layer, nn.Linear):
        return channels_first(layer, layer(embedding.permute(0, 2, 3, 1)))
    return layer(embedding)


def two_classes(logit: Tensor) -> Tensor:
    """The logit of one class, (N, 1, h, w) -> logits (N, 2, h, w), of which the first is 0."""
    return torch.cat([torch.zeros_like(logit), logit], dim=1)


class TappedEmbedding(HeadEmbedding):
    """The embedding of a net that was taken apart, and compared and measured then."""

    is_forward = True

    @property
    def is_plain(self) -> bool:
        return False  # the head has no forward of its own

    def _check_stated_stride(self, backbone: Any, image_channels: int) -> None:
        """It was measured."""


class WrappedEmbedding(TappedEmbedding):
    """It, and the resize that follows its classifier."""

    def __init__(self, head: Classifiers, backbone: TappedNet, upsampling: Upsampling):
        super().__init__(head, backbone)
        self.upsampling = upsampling
