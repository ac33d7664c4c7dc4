"""The NIR bridge: files of the Neuromorphic Intermediate Representation read, checked, written and compared."""
