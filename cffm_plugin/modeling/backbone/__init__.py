from .mit import MIT_VARIANTS, MiT, build_mit_backbone

__all__ = ["MIT_VARIANTS", "MiT", "build_mit_backbone"]
