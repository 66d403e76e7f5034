"""From the parameters of a heart and of a scanner to the image and its label mask.

`anatomy` and `lesions` describe the heart, and `view` places it before the probe. `tissue` and `acoustics` compute its
echoes, and `scanner` makes the picture that is stored. `images` is the entry.
"""
