"""Layer 0: the words everything else is written in. Needs torch only."""
