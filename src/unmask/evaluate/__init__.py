"""Layer 2: which sampler is better at how many steps, with intervals, from records."""
