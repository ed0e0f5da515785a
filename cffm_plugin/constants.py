"""Values that commands show in their help, before anything that takes time is imported."""

MAX_MEGAPIXELS = 100  # images that are larger are not decoded
IMAGE_RATE = 10  # frames per second of images, of which nothing says it
DEMO_WEIGHTS = "output/demo/cffm_camvid.safetensors"  # what `cffm make-demo` writes
FRAMES_OF_VIDEOS = "{video}/{frame}"  # of folders of frames that are labelled by a model
EXPORT_FORMATS = ("onnx", "torch_export")
BENCHMARK_MODES = ("stream", "clip", "image", "backbone", "train")
# Of reports.
PLAYERS, MAX_MEGABYTES, PLAYER_WIDTH = 10, 200.0, 480
SPLITS = ("train", "val", "test")  # of datasets that come by name
# Of the synthetic dataset.
SYNTHETIC_VIDEOS = {"train": 40, "val": 10, "test": 10}
SYNTHETIC_FRAMES, SYNTHETIC_SIZE, SYNTHETIC_CLASSES = 24, (168, 224), 10
