"""Image heads, and the contract through which a temporal module sees any of them."""

from .embedding import HeadEmbedding
from .families import DeepLabV3Embedding, LogitsEmbedding, PredictorEmbedding, embedding_of
from .segformer import SegFormerHead

__all__ = [
    "DeepLabV3Embedding",
    "HeadEmbedding",
    "LogitsEmbedding",
    "PredictorEmbedding",
    "SegFormerHead",
    "embedding_of",
]
