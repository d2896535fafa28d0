"""From a robot to the text of its kernels: straight-line code for this one chain."""
