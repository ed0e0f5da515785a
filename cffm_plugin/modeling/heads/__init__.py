"""Image heads, and how a temporal module sees those of detectron2."""

from .families import DeepLabV3Embedding, LogitsEmbedding, PredictorEmbedding, embedding_of
from .mask_classification import MaskClassificationEmbedding
from .segformer import SegFormerHead

__all__ = [
    "DeepLabV3Embedding",
    "LogitsEmbedding",
    "MaskClassificationEmbedding",
    "PredictorEmbedding",
    "SegFormerHead",
    "embedding_of",
]
