"""timm's transformers with few blocks, registered in timm under their names and "shallow_"."""

import timm

SHALLOW = {
    "vit_tiny_patch16_224": {"depth": 3},
    "vit_small_patch14_dinov2": {"depth": 3},
    "vit_small_patch14_reg4_dinov2": {"depth": 3},
    "vit_small_patch16_dinov3": {"depth": 3},
    "eva02_tiny_patch14_224": {"depth": 3},
    "hiera_tiny_224": {"stages": (1, 1, 1, 1)},
    "qwen3_vit_88m": {"depth": 3},
    "gemma4_vit_167m": {"depth": 3},
    "swin_tiny_patch4_window7_224": {"depths": (2, 1, 1, 2), "embed_dim": 24},
    "swinv2_tiny_window16_256": {"depths": (2, 1, 1, 2), "embed_dim": 24},
    "swinv2_cr_tiny_ns_224": {"depths": (2, 1, 1, 2), "embed_dim": 24},
}


def _register(name, options):
    def shallow(pretrained=False, **kwargs):
        return timm.model_entrypoint(name)(pretrained, **options, **kwargs)

    shallow.__name__ = f"shallow_{name}"
    timm.models.register_model(shallow)


for _name, _options in SHALLOW.items():
    _register(_name, _options)
