"""Layer 2: which sampler is better at how many steps, with intervals, from records."""

from unmask.evaluate.accuracy import Accuracy, deployed_accuracy
from unmask.evaluate.bench import Progress, bench
from unmask.evaluate.metrics import (
    Interval,
    McNemar,
    Point,
    area_under_parallelism,
    mcnemar,
    retention,
    tokens_per_forward,
    wilson,
)
from unmask.evaluate.records import Record, Records, denoiser_digest, make_header, provenance, read_records
from unmask.evaluate.table import TableRow, Versus, print_table, render, table, table_row, write_table
from unmask.evaluate.tune import Choice, Trial, Tuned, bench_samplers, tune

__all__ = [
    "Accuracy",
    "Choice",
    "Interval",
    "McNemar",
    "Point",
    "Progress",
    "Record",
    "Records",
    "TableRow",
    "Trial",
    "Tuned",
    "Versus",
    "area_under_parallelism",
    "bench",
    "bench_samplers",
    "denoiser_digest",
    "deployed_accuracy",
    "make_header",
    "mcnemar",
    "print_table",
    "provenance",
    "read_records",
    "render",
    "retention",
    "table",
    "table_row",
    "tokens_per_forward",
    "tune",
    "wilson",
    "write_table",
]
