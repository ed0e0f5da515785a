"""The page, made with gradio."""

from pathlib import Path
from typing import Any

from ..libraries import import_library
from .limits import Limits
from .models import Models
from .segmenting import segment

TITLE = "Image and video segmentor, side by side"
WAITING = 8  # people in the queue; one more is told to come later
KEPT_SECONDS = 3600  # of uploaded files and results

# gradio's button to trim a video would fetch a program from elsewhere.
CSS = 'button[aria-label="Trim video to selection"] { display: none; }'

# What the page asks a camera for: by itself it would ask for more than it takes.
CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}

_ABOUT = """# {title}

Both are the same weights. The **image segmentor** sees every frame by itself; the **video
segmentor** looks at a few earlier frames too. Upload a video or record one.

Taken are {limits}. Files are removed after an hour, and when the server ends.
"""


def build_page(models: Models, limits: Limits, folder: Path) -> Any:
    """The page, a ``gradio.Blocks`` that takes one video at a time.

    Nothing is fetched from elsewhere, and gradio tells nobody of it.

    Args:
        models: the first is chosen at the start.
        limits: what is taken.
        folder: for results; to be the GRADIO_TEMP_DIR of the environment while it is built and
            served, where gradio puts what people upload.

    Raises:
        ModuleNotFoundError: gradio is not installed.
    """
    gr = import_library("gradio", "The web page")

    def answer(file: str | None, model: str, progress: Any = gr.Progress()) -> tuple:  # noqa: B008
        if not file:
            return None, gr.DownloadButton(visible=False), "**First** upload or record a video."
        progress(0, desc="Reading")

        def tell(count: int, total: int | None) -> None:
            progress((count, max(count, total or count)), desc="Segmenting", unit="frames")

        result = segment(Path(file), model, models, limits, folder, tell)
        video = None if result.video is None else str(result.video)
        return video, gr.DownloadButton(value=video, visible=video is not None), result.text

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(60, KEPT_SECONDS)) as page:
        gr.Markdown(_ABOUT.format(title=TITLE, limits=limits))
        with gr.Row():
            with gr.Column(scale=1):
                # gradio takes the sound out only by a program that is not everywhere.
                given = gr.Video(
                    label="Your video",
                    sources=["upload", "webcam"],
                    include_audio=True,
                    webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
                )
                model = gr.Dropdown(models.names, value=models.names[0], label="Model")
                start = gr.Button("Segment", variant="primary")
            with gr.Column(scale=2):
                result = gr.Video(
                    label="Result",
                    show_label=False,  # it would cover the picture's own title
                    interactive=False,
                    buttons=[],
                    elem_id="result",
                )
                download = gr.DownloadButton("Download the result", visible=False)
                said = gr.Markdown(elem_id="said")
        start.click(answer, [given, model], [result, download, said], api_name="segment")
    return page.queue(max_size=WAITING, default_concurrency_limit=1)
