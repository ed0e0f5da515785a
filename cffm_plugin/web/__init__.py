"""A web page that shows a person's video through an image and a video segmentor."""
