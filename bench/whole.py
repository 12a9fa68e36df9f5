#!/usr/bin/env python3
"""The whole of hbnode under one load of bench/compare.sh: leader, executor, monitor, rows on disk, report.

Usage: bench/whole.py HBNODE --url URL --mode closed|open|burst --in-flight N --requests N [--tokens N] [--ttft MS] [--tpot MS]

Prints one line of figures with the names that the clients of the comparison use. CPU is that of the process from its start to
its end, its report included, less what a run of two requests takes; memory is the most that it ever had. Times are made from
requests.jsonl; the gap between tokens is the report's own percentile.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

RECIPE = """
scenario: whole
orchestration: {{mode: local}}
servers: {{endpoints: ['{url}']}}
workload:
  service: openai
  model: m
  api: completions
  warmup: 0s
  prompt_len: 128
  gen_tokens: {tokens}
  calibration: 'off'
  requests: {requests}
  {load}
"""


def led(hbnode, shape, requests, folder):
    """Leads such a run: its CPU in seconds, the most memory that it had in MB, and its folder."""
    answer = max((shape.ttft + shape.tpot * (shape.tokens - 1)) / 1e3, 1e-3)
    rate = f"target_rps: {shape.in_flight / answer}\n  request_distribution: constant"
    load = rate if shape.mode == "open" else f"concurrency: {shape.in_flight}"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE.format(url=shape.url, tokens=shape.tokens, requests=requests, load=load))
    words = [hbnode, "--leader", folder / "recipe.yaml", "--results", folder / "results", "--json", "-q"]
    with open(folder / "said", "wb") as said:
        child = subprocess.Popen(words, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    # A verdict is no failure of the measurement.
    if child.returncode not in (0, 3):
        sys.exit((folder / "said").read_text(errors="replace"))
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, next((folder / "results/whole").glob("[0-9]*"))


def quantile(values, share):
    values = sorted(values)
    return values[round((len(values) - 1) * share)] if values else None


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("hbnode", type=pathlib.Path)
    asked.add_argument("--url", required=True)
    asked.add_argument("--mode", required=True, choices=["closed", "open", "burst"])
    asked.add_argument("--in-flight", type=int, required=True)
    asked.add_argument("--requests", type=int, required=True)
    asked.add_argument("--tokens", type=int, default=100)
    asked.add_argument("--ttft", type=float, default=0.0)
    asked.add_argument("--tpot", type=float, default=0.0)
    shape = asked.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        starting, _, _ = led(shape.hbnode, shape, 2, root / "starting")
        cpu, memory, run = led(shape.hbnode, shape, shape.requests, root / "load")
        trial = json.loads((run / "report.json").read_text())["trials"][0]
        rows = [json.loads(line) for path in run.glob("*/requests.jsonl") for line in path.open()]
    completed = [row for row in rows if row["outcome"] == "completed"]
    cpu -= starting
    tokens = sum(row["output_tokens"] for row in completed)
    first = [abs((row["first"] - row["due"]) * 1e3 - shape.ttft) for row in completed]
    from_sending = [abs((row["first"] - row["sent"]) * 1e3 - shape.ttft) for row in completed]
    gaps = [abs((row["last"] - row["first"]) * 1e3 / (row["output_tokens"] - 1) - shape.tpot) for row in completed]
    # As the other clients count it: from the first instant to the last.
    wall = max(row["end"] for row in completed)
    itl = trial["latency"]["itl_seconds"]
    print(json.dumps({
        "requests": len(completed),
        "failed": len(rows) - len(completed),
        "requests_per_second": len(completed) / wall,
        "cpu_seconds": cpu,
        "cpu_per_million_tokens": cpu / tokens * 1e6,
        "cpu_per_thousand_requests": cpu / len(completed) * 1e3,
        "ttft_error_p50_ms": quantile(first, 0.5),
        "ttft_error_p99_ms": quantile(first, 0.99),
        "ttft_error_from_sending_p99_ms": quantile(from_sending, 0.99),
        "tpot_error_p99_ms": quantile(gaps, 0.99),
        "itl_error_p99_ms": abs(itl["p99"] * 1e3 - shape.tpot) if itl else None,
        "peak_memory_mb": memory,
    }))


main()
