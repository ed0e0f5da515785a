"""Whether datasets and model speak of the same classes."""

from collections.abc import Mapping, Sequence

from ..libraries import catalogs
from .datasets.vspw_classes import voc_colors
from .images import LabelMapping


def check_num_classes(dataset_names: Sequence[str], num_classes: int) -> None:
    """Compare a model's number of classes with that of every dataset it meets.

    Args:
        dataset_names: as in DATASETS.TRAIN and DATASETS.TEST. Those whose metadata have no
            ``label_mapping``, which other packages' datasets have not, are left alone.
        num_classes: MODEL.SEM_SEG_HEAD.NUM_CLASSES.

    Raises:
        ValueError: they differ; the error names the dataset and both numbers.
    """
    for name in dataset_names:
        mapping = label_mapping_of(name)
        if mapping is not None and mapping.num_classes != num_classes:
            raise ValueError(
                f"Dataset {name} has {mapping.num_classes} classes, but "
                f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {num_classes}. Make them equal: set "
                f"MODEL.SEM_SEG_HEAD.NUM_CLASSES {mapping.num_classes}, or name another dataset in "
                "DATASETS."
            )


def names_and_colors(
    dataset_names: Sequence[str], num_classes: int
) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Of the classes of the first dataset that has metadata of K classes; ([], []) if none has.

    Args:
        dataset_names: registered or not.
        num_classes: K.

    Returns:
        K names; and K colours (R, G, B), VOC's where the dataset has none.
    """
    for name in dataset_names:
        metadata = catalogs.MetadataCatalog.get(name) if name in catalogs.MetadataCatalog else None
        classes = [] if metadata is None else list(metadata.get("stuff_classes") or ())
        if metadata is not None and len(classes) == num_classes:
            colors = [tuple(color) for color in metadata.get("stuff_colors") or ()]
            return classes, colors if len(colors) == num_classes else voc_colors(num_classes)
    return [], []


def numbered_classes(num_classes: int) -> list[tuple[str, tuple[int, int, int]]]:
    """Names, "class 0" and so on, and VOC's colours, for classes that nobody has named."""
    return [(f"class {k}", color) for k, color in enumerate(voc_colors(num_classes))]


def common_label_mapping(
    dataset_names: Sequence[str], num_classes: int | None = None
) -> LabelMapping:
    """The one label mapping of training datasets, which must be that of a model of K classes.

    Args:
        dataset_names: as in DATASETS.TRAIN.
        num_classes: K, MODEL.SEM_SEG_HEAD.NUM_CLASSES; None where there is no model.

    Raises:
        ValueError: there is no dataset; one has no label mapping or another number of classes; or
            two have different mappings.
    """
    if not dataset_names:
        raise ValueError("DATASETS.TRAIN is empty: name at least one registered dataset.")
    if num_classes is not None:
        check_num_classes(dataset_names, num_classes)
    return the_same_mapping({n: stated_mapping(n, label_mapping_of(n)) for n in dataset_names})


def the_same_mapping(mappings: Mapping[str, LabelMapping]) -> LabelMapping:
    """The one label mapping that datasets have in common.

    Args:
        mappings: dataset -> its mapping; one at least.

    Raises:
        ValueError: two are different.
    """
    first, *others = mappings
    for name in others:
        if mappings[name] != mappings[first]:
            raise ValueError(
                f"Datasets {first} and {name} can't be trained on together: the values in their "
                "masks mean different classes."
            )
    return mappings[first]


def stated_mapping(dataset_name: str, mapping: LabelMapping | None) -> LabelMapping:
    """A dataset's mapping.

    Raises:
        ValueError: it has none.
    """
    if mapping is None:
        raise ValueError(
            f"Dataset {dataset_name} does not say what the values in its masks mean. Register it "
            "with cffm_plugin.data.register_video_folder or register_vspw, or set "
            f'MetadataCatalog.get("{dataset_name}").label_mapping to a '
            "cffm_plugin.data.LabelMapping."
        )
    return mapping


def label_mapping_of(dataset_name: str) -> LabelMapping | None:
    """What a dataset's masks mean; None where nobody has said it."""
    if dataset_name not in catalogs.MetadataCatalog:  # its `get` would make an empty entry
        return None
    return catalogs.MetadataCatalog.get(dataset_name).get("label_mapping")
