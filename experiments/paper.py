"""What the paper (Götz et al., ICASSP 2023) prints in its Table 2."""

from __future__ import annotations

import math

TABLE2 = {  # RMSE, r and bias of RT60 and C50; accuracy, precision and recall of the volume
    ("supervised", None): ((0.2228, 0.9037, 0.0304), (1.9756, 0.9241, 1.0281), (0.6895, 0.7066, 0.7016)),
    ("untrained", None): ((0.5056, 0.1993, None), (), ()),
    ("soft", 0.01): ((0.2699, 0.8496, 0.0344), (1.7561, 0.9208, 0.3187), (0.6953, 0.7146, 0.7103)),
    ("soft", 0.1): ((0.2345, 0.8878, 0.0027), (1.8903, 0.9223, 0.4303), (0.7129, 0.7241, 0.7165)),
    ("soft", 1.0): ((0.2500, 0.8768, 0.0450), (1.7887, 0.9181, 0.3901), (0.7109, 0.7376, 0.7383)),
    ("hard", 0.01): ((0.2369, 0.8870, 0.0322), (2.0057, 0.9227, 0.9820), (0.7070, 0.7252, 0.7199)),
    ("hard", 0.1): ((0.2426, 0.8787, 0.0069), (2.0411, 0.9142, 0.8401), (0.6797, 0.7014, 0.6992)),
    ("hard", 1.0): ((0.2770, 0.8399, -0.0043), (2.0101, 0.9032, 0.7059), (0.6758, 0.6943, 0.6905)),
    ("position_independent", 0.01): ((0.2146, 0.9089, 0.0296), (2.2386, 0.8908, 1.0001), (0.7422, 0.7320, 0.7328)),
    ("position_independent", 0.1): ((0.2217, 0.9048, 0.0028), (2.0813, 0.9063, 0.8936), (0.7305, 0.7586, 0.7602)),
    ("position_independent", 1.0): ((0.2284, 0.8937, 0.0220), (2.3873, 0.8597, 0.7434), (0.6836, 0.7024, 0.6984)),
}
LABEL_SD = {"rt60": 0.51, "c50": 4.4}  # s, dB: spread of the paper's labels, which its RMSE and r imply


def printed(method: str, tau: float, task: str) -> tuple[float | None, ...]:
    """Return RMSE, RMSE/SD, r and bias, or accuracy, precision and recall, of a cell; nothing where there are none."""
    rt60, c50, volume = TABLE2.get((method, None if math.isnan(tau) else tau), ((), (), ()))
    if task == "volume":
        return volume
    figures = {"rt60": rt60, "c50": c50}.get(task)
    if not figures:
        return ()
    rmse, r, bias = figures
    return rmse, rmse / LABEL_SD[task], r, bias


def best_of_paper(task: str) -> float:
    """Return the lowest RMSE/SD of RT60 or C50."""
    column = ("rt60", "c50").index(task)
    return min(cell[column][0] for cell in TABLE2.values() if cell[column]) / LABEL_SD[task]
