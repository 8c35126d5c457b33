"""Layer 1: networks that give a distribution over tokens at every masked position."""
