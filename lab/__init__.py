"""Long and slow measurements of this project itself, from a clone of it; no part of the wheel."""
