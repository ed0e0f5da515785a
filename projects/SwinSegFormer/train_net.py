#!/usr/bin/env python3
"""Swin Transformers of timm and SegFormer's head under CFFM."""

from detectron2.engine import default_argument_parser

from cffm_plugin.engine import launch_job, main

if __name__ == "__main__":
    launch_job(main, default_argument_parser().parse_args())
