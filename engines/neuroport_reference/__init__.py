"""The executable definition: float64 NumPy. Every other engine is held to it."""
