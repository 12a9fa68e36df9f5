#!/usr/bin/env python3
"""hbnode as a person uses it, beside the tools it is compared with, each where it is installed.

Usage: bench/tools.py [--rounds 3] [--in-flight 64 512] [--only hbnode oha] [--tokenizer FOLDER]

All meet the same Dummy of known timing on CPU 1 and run on CPU 0, one after another; medians of the rounds are printed as a
table. Errors are the tool's own p50 and p99 less what the Dummy was told. CPU and memory are those of all of the tool's
processes, from its start to its end; of the CPU, what a run of two requests needs is taken off, as it is the cost of starting.
`first` is the time from its start to the first request of the load.

Taken are target/release/hbnode, and `vllm`, `vllm-bench`, `aiperf`, `guidellm` and `oha` from the path or from $VLLM,
$VLLM_BENCH, $AIPERF, $GUIDELLM and $OHA. All but hbnode and oha want a tokenizer: --tokenizer names a folder that has one.
"""

import argparse
import asyncio
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

REPO = pathlib.Path(__file__).resolve().parent.parent
TOKENS = 100
PROMPT = 16
# Slower tokens where more are in flight, so that the server's one CPU keeps its pace and is not what is measured. One in flight
# meets a server that needs no time, for the column `first`: what a tool itself needs until it asks.
TIMING_MS = {1: (0, 0), 64: (50, 10), 512: (50, 20), 2000: (400, 100)}
LIMIT_S = 300


def hbnode(binary, load, folder):
    return [binary, "bench", load.url, "--model", "dummy", "--concurrency", load.in_flight, "--requests", load.requests,
            "--warmup", "0s", "--prompt-len", PROMPT, "--gen-tokens", TOKENS, "--results", folder, "--json"]


def of_hbnode(folder):
    trial = json.loads(next(folder.glob("*/*/report.json")).read_text())["trials"][0]
    latency = trial["latency"]
    return {
        "completed": trial["accounting"]["completed"],
        "rate": trial["throughput"]["requests_per_second"],
        "ttft": (latency["ttft_seconds"]["p50"] * 1e3, latency["ttft_seconds"]["p99"] * 1e3),
        "tpot": latency["tpot_seconds"]["p99"] * 1e3,
    }


def vllm(binary, load, folder):
    return [binary, "bench", "serve", *serving(load, folder)]


def vllm_bench(binary, load, folder):
    """vLLM's own client in Rust, which takes the same words and writes the same file."""
    return [binary, *serving(load, folder)]


def serving(load, folder):
    return ["--backend", "openai", "--base-url", load.url, "--model", "dummy", "--tokenizer", load.tokenizer,
            "--dataset-name", "random", "--random-input-len", PROMPT, "--random-output-len", TOKENS, "--num-prompts", load.requests,
            "--max-concurrency", load.in_flight, "--ignore-eos", "--save-result", "--result-dir", folder, "--result-filename", "r.json",
            "--percentile-metrics", "ttft,tpot,itl", "--metric-percentiles", "50,99", "--disable-tqdm"]


def of_vllm(folder):
    result = json.loads((folder / "r.json").read_text())
    return {
        "completed": result["completed"],
        "rate": result["request_throughput"],
        "ttft": (result["p50_ttft_ms"], result["p99_ttft_ms"]),
        "tpot": result["p99_tpot_ms"],
    }


def aiperf(binary, load, folder):
    return [binary, "profile", "--model", "dummy", "--url", load.url, "--endpoint-type", "completions", "--streaming",
            "--concurrency", load.in_flight, "--request-count", load.requests, "--tokenizer", load.tokenizer, "--use-server-token-count",
            "--synthetic-input-tokens-mean", PROMPT, "--output-tokens-mean", TOKENS, "--output-tokens-stddev", 0,
            "--extra-inputs", "ignore_eos:true", "--artifact-dir", folder, "--ui", "none"]


def of_aiperf(folder):
    result = json.loads((folder / "profile_export_aiperf.json").read_text())
    ttft = result["time_to_first_token"]
    return {
        "completed": result["request_count"]["avg"],
        "rate": result["request_throughput"]["avg"],
        "ttft": (ttft["p50"], ttft["p99"]),
        "tpot": result["inter_token_latency"]["p99"],
    }


def guidellm(binary, load, folder):
    return [binary, "run", "--backend", f"kind=openai_http,target={load.url},model=dummy",
            "--profile", f"kind=concurrent,streams={load.in_flight}", "--constraint", f"kind=max_requests,count={load.requests}",
            "--data", f"kind=synthetic_text,prompt_tokens={PROMPT},output_tokens={TOKENS}",
            "--tokenizer", f"kind=huggingface_auto,model={load.tokenizer}", "--output", f"kind=json,path={folder / 'r.json'}",
            "--disable-console"]


def of_guidellm(folder):
    metrics = json.loads((folder / "r.json").read_text())["benchmarks"][0]["metrics"]
    ttft = metrics["time_to_first_token_ms"]["successful"]["percentiles"]
    return {
        "completed": metrics["request_totals"]["successful"],
        "rate": metrics["requests_per_second"]["successful"]["mean"],
        "ttft": (ttft["p50"], ttft["p99"]),
        "tpot": metrics["inter_token_latency_ms"]["successful"]["percentiles"]["p99"],
    }


def oha(binary, load, folder):
    body = json.dumps({"model": "dummy", "prompt": "word " * PROMPT, "max_tokens": TOKENS, "stream": True})
    return [binary, "--no-tui", "--output-format", "json", "--output", folder / "r.json", "-n", load.requests, "-c", load.in_flight,
            "-m", "POST", "-T", "application/json", "-d", body, f"{load.url}/v1/completions"]


def of_oha(folder):
    result = json.loads((folder / "r.json").read_text())
    return {
        "completed": result["statusCodeDistribution"].get("200", 0),
        "rate": result["summary"]["requestsPerSec"],
        "ttft": (None, None),
        "tpot": None,
    }


TOOLS = {"hbnode": (hbnode, of_hbnode), "oha": (oha, of_oha), "vllm": (vllm, of_vllm), "vllm-bench": (vllm_bench, of_vllm),
         "aiperf": (aiperf, of_aiperf),
         "guidellm": (guidellm, of_guidellm)}
WITH_TOKENIZER = ("vllm", "vllm-bench", "aiperf", "guidellm")


class Load:
    """What every tool is asked: so many in flight, so many in all, of a server of known timing."""

    def __init__(self, in_flight, port, tokenizer):
        self.in_flight, self.requests = in_flight, 10 * in_flight
        self.ttft_ms, self.tpot_ms = TIMING_MS[in_flight]
        self.port, self.url, self.tokenizer = port, f"http://127.0.0.1:{port}", tokenizer


class Server:
    """The Dummy on CPU 1."""

    def __init__(self, binary, load):
        self.child = subprocess.Popen(
            ["taskset", "-c", "1", binary, "dummy", "-q", "--port", str(load.port), "--model", "dummy",
             "--ttft", f"{load.ttft_ms}ms", "--tpot", f"{load.tpot_ms}ms"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{load.url}/v1/models", timeout=1).read()
                return
            except OSError:
                time.sleep(0.05)
        self.end()
        sys.exit(f"the Dummy does not answer at {load.url}")

    def end(self):
        self.child.terminate()
        self.child.wait()


def processes_of(group):
    """The processes of a session, as pids."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == group:
            yield int(stat.parent.name)


def resident_mb(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, IndexError):
        return 0.0


def measured(words, folder):
    """Runs a tool to its end. Seconds, seconds of CPU and the most memory of all its processes at one time; None if it failed."""
    with open(folder / "said", "wb") as said:
        before = os.times()
        began = time.monotonic()
        child = subprocess.Popen(["taskset", "-c", "0", *map(str, words)], stdout=said, stderr=said, start_new_session=True)
        most = 0.0
        while child.poll() is None:
            most = max(most, sum(map(resident_mb, processes_of(child.pid))))
            if time.monotonic() - began > LIMIT_S:
                os.killpg(child.pid, signal.SIGKILL)
            time.sleep(0.2)
        after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.monotonic() - began, "cpu": cpu, "memory": most, "code": child.returncode}


class Doorman:
    """Hands connections on to the server, and notes when the first request of the load came by."""

    ASKS = re.compile(rb'"max_(completion_)?tokens": ?%d\b' % TOKENS)

    def __init__(self, port, behind):
        self.port, self.behind, self.first = port, behind, None
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.hand_on, "127.0.0.1", port))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    async def hand_on(self, asking, to_asking):
        answering, to_answering = await asyncio.open_connection("127.0.0.1", self.behind)
        await asyncio.gather(self.carry(asking, to_answering, True), self.carry(answering, to_asking, False), return_exceptions=True)

    async def carry(self, source, sink, asks):
        seen = b""
        while chunk := await source.read(1 << 16):
            if asks and self.first is None:
                seen = (seen + chunk)[-(1 << 16):]
                if self.ASKS.search(seen):
                    self.first = time.monotonic()
            sink.write(chunk)
            await sink.drain()
        sink.close()

    def end(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


def started(words_of, load, folder):
    """A run of two requests: seconds from the tool's start to the first of them, and seconds of CPU in all."""
    doorman = Doorman(load.port + 1, load.port)
    through = Load(load.in_flight, doorman.port, load.tokenizer)
    through.in_flight, through.requests = 1, 2
    try:
        began = time.monotonic()
        run = measured(words_of(through, folder), folder)
        return {"first": None if doorman.first is None else doorman.first - began, "cpu": run["cpu"]}
    finally:
        doorman.end()


def binaries(only):
    """The tools that are here."""
    found = {"hbnode": REPO / "target/release/hbnode"}
    for name in ("oha", "vllm", "vllm-bench", "aiperf", "guidellm"):
        path = os.environ.get(name.upper().replace("-", "_")) or shutil.which(name)
        if path:
            found[name] = path
        else:
            print(f"{name}: left out, as it is not installed", file=sys.stderr)
    return {name: path for name, path in found.items() if not only or name in only}


def fresh(root, *names):
    folder = root.joinpath(*map(str, names))
    folder.mkdir(parents=True)
    return folder


def row(load, name, runs, start):
    def median(of):
        values = [of(run) for run in runs]
        return None if any(value is None for value in values) else statistics.median(values)

    def less(value, told):
        return None if value is None else value - told

    tokens = load.requests * TOKENS
    cells = [
        (median(lambda run: (run["cpu"] - start["cpu"]) / tokens * 1e6), 1),
        (median(lambda run: (run["cpu"] - start["cpu"]) / load.requests * 1e3), 2),
        (median(lambda run: run["rate"]), 1),
        (median(lambda run: less(run["ttft"][0], load.ttft_ms)), 1),
        (median(lambda run: less(run["ttft"][1], load.ttft_ms)), 1),
        (median(lambda run: less(run["tpot"], load.tpot_ms)), 2),
        (median(lambda run: run["memory"]), 0),
        (start["first"], 2),
        (median(lambda run: run["seconds"]), 1),
    ]
    said = " | ".join("–" if value is None else f"{value:.{digits}f}" for value, digits in cells)
    counts = " ".join(f"{run['completed']:.0f}" for run in runs)
    print(f"| {load.in_flight} | {name} | {said} | {counts} of {load.requests} |", flush=True)


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--in-flight", type=int, nargs="+", default=[64, 512], choices=sorted(TIMING_MS))
    asked.add_argument("--only", nargs="+", choices=TOOLS)
    asked.add_argument("--tokenizer", help="a folder with a tokenizer, for the tools that want one")
    asked.add_argument("--port", type=int, default=18940)
    words = asked.parse_args()
    if os.cpu_count() < 2:
        sys.exit("two CPUs are needed: one for the server, one for the tools")
    os.sched_setaffinity(0, {1})
    here = binaries(words.only)
    if not words.tokenizer:
        here = {name: path for name, path in here.items() if name not in WITH_TOKENIZER or print(f"{name}: left out without --tokenizer", file=sys.stderr)}
    print("| in flight | tool | CPU s/Mtoken | CPU s/1000 req | req/s | TTFT p50 off, ms | TTFT p99 off, ms | TPOT p99 off, ms | memory MB | first, s | whole, s | completed |")
    print("|" + "---|" * 12)
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        for in_flight in words.in_flight:
            load = Load(in_flight, words.port, words.tokenizer)
            server = Server(here.get("hbnode", REPO / "target/release/hbnode"), load)
            try:
                runs = {name: [] for name in here}
                for turn in range(words.rounds):
                    for name, path in here.items():
                        command, result = TOOLS[name]
                        folder = fresh(root, in_flight, name, turn)
                        run = measured(command(path, load, folder), folder)
                        try:
                            runs[name].append(run | result(folder))
                        except (OSError, KeyError, ValueError, StopIteration) as error:
                            tail = (folder / "said").read_text(errors="replace").splitlines()[-5:]
                            print(f"{name}: no result ({type(error).__name__}: {error}; exit code {run['code']}):", *tail, sep="\n  ", file=sys.stderr)
                for name, path in here.items():
                    if runs[name]:
                        start = started(lambda through, into: TOOLS[name][0](path, through, into), load, fresh(root, in_flight, name, "start"))
                        row(load, name, runs[name], start)
            finally:
                server.end()


if __name__ == "__main__":
    main()
