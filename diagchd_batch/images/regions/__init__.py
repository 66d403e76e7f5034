"""The part of a frame that is scored: where it lies, how it is chosen, and how it is found in the pixels."""
