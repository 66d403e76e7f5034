"""Image files and reference masks: readers by content, the model's grid, quality flags, distances between masks."""
