"""Video files in and out, and what cffm demo runs."""
