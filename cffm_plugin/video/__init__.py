"""Video files in and out, painting, and what tools/demo.py runs."""
