"""An engine to copy: plain NumPy, float32, small, complete, trainable."""
