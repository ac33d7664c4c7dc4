"""Fused loops for one kind of device each, beside their plain version in ``eager.py``."""
