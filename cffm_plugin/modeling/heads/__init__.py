"""Image heads, and the contract through which a temporal module sees any of them."""

from .agreement import check_agreement, ensure_agreement, training_side
from .embedding import HeadEmbedding
from .families import DeepLabV3Embedding, LogitsEmbedding, PredictorEmbedding, embedding_of
from .mask_classification import MaskClassificationEmbedding
from .segformer import SegFormerHead

__all__ = [
    "DeepLabV3Embedding",
    "HeadEmbedding",
    "LogitsEmbedding",
    "MaskClassificationEmbedding",
    "PredictorEmbedding",
    "SegFormerHead",
    "check_agreement",
    "embedding_of",
    "ensure_agreement",
    "training_side",
]
