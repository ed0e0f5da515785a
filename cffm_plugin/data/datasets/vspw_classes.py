"""VSPW's 124 classes, in the order of the official label list, and a colour for each."""

_NAMES = """
wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar
pole floor ground grass sand athletic_field road path crosswalk building house bridge tower windmill
well_or_well_lid other_construction sky mountain stone wood ice snowfield grandstand sea river lake
waterfall water billboard_or_Bulletin_Board sculpture pipeline flag parasol_or_umbrella
cushion_or_carpet tent roadblock car bus truck bicycle motorcycle wheeled_machine ship_or_boat raft
airplane tyre traffic_light lamp person cat dog horse cattle other_animal tree flower other_plant
toy ball_net backboard skateboard bat ball cupboard_or_showcase_or_storage_rack box
traveling_case_or_trolley_case basket bag_or_package trash_can cage plate tub_or_bowl_or_pot
bottle_or_cup barrel fishbowl bed pillow table_or_desk chair_or_seat bench sofa shelf bathtub gun
commode roaster other_machine refrigerator washing_machine Microwave_oven fan curtain textiles
clothes painting_or_poster mirror flower_pot_or_vase clock book tool blackboard tissue
screen_or_television computer printer Mobile_phone keyboard other_electronic_product fruit food
instrument train
"""
VSPW_CLASSES = tuple(_NAMES.split())


def voc_color(index: int) -> tuple[int, int, int]:
    """The (R, G, B) that PASCAL VOC's colour map gives to an index in 0..255.

    The bits of the index are dealt to red, green and blue in turn, from the highest bit of each
    channel down, so that small indices get colours far apart. Index 0 is black.
    """
    channels = [0, 0, 0]
    for bit in range(8):
        if index >> bit & 1:
            channels[bit % 3] |= 1 << (7 - bit // 3)
    red, green, blue = channels
    return red, green, blue


def voc_colors(num_classes: int) -> list[tuple[int, int, int]]:
    """A colour per class. Class k gets index k + 1, its value in VSPW's mask files."""
    return [voc_color(index) for index in range(1, num_classes + 1)]


VSPW_COLORS = voc_colors(len(VSPW_CLASSES))
