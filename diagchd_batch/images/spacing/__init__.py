"""The size of a pixel, from the ultrasound regions of a header, and what is measured with it."""
