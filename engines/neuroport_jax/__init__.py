"""neuroport on jax: each program one XLA computation, for CPU, GPU and TPU."""
