# For machines with NVIDIA GPUs and the NVIDIA Container Toolkit; on others it runs on the CPU.
# The CUDA libraries are those that torch's wheels bring. CI does not build this image.
#
#   docker build -t cffm_plugin .
#   docker run --rm --gpus all cffm_plugin                 # make quickstart
#   docker run --rm --gpus all cffm_plugin make test
#   docker run --rm --gpus all --ipc host -v /data:/data -e DETECTRON2_DATASETS=/data cffm_plugin \
#       .venv/bin/cffm train --config-file vspw/cffm_mit_b1 OUTPUT_DIR /data/output
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home cffm
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER cffm
WORKDIR /home/cffm/cffm_plugin
COPY --chown=cffm . .
RUN make setup
CMD ["make", "quickstart"]
