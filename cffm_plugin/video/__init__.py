"""Video files in and out, and what tools/demo.py runs."""
