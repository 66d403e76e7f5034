"""The TensorFlow runtime, for NVIDIA GPUs and for CPUs.

`compiled` is what the registry loads. `inference` builds the network in the form that scores fastest, and `winograd`
holds the convolution that it uses on a CPU in float32.
"""
