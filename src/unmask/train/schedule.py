"""How the learning rate moves: up, level, down."""


def trapezoid(update: int, updates: int, warmup: int, decay: float) -> float:
    """Factor on the peak rate at `update` of `updates`: linear warm-up, a plateau, linear decay to 0.

    `decay` is the share of the run spent on the way down. The plateau makes a run extensible: a checkpoint taken
    on it is a valid start for a longer run (Hägele et al. 2024).
    """
    down = max(1, round(decay * updates))
    return min(1.0, (update + 1) / max(1, warmup), max(0.0, (updates - update) / down))
