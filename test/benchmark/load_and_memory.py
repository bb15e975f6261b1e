#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What compiling, loading and running a large decoder cost in time and memory, beside the limits we set ourselves.

    load_and_memory.py FOLDER [--dtype bf16] [--build build] [--scratch FOLDER] [--rounds 7] [--json FILE] [--markdown FILE]

FOLDER has a config.json; weights are drawn at random while compiling. Memory beyond the page cache is anonymous memory (RssAnon of /proc),
sampled every 10 ms; peak resident memory is what the kernel kept account of (VmHWM). Loading is what llmopt-run --perf says of it.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

IDS = " ".join(str(3 + i % 1000) for i in range(128))
GENERATE = 32


def proc(pid, name):
    """Fields of a file of /proc that are given in kB, in bytes; nothing for a process that ended."""
    try:
        with open(f"/proc/{pid}/{name}") as file:
            return {key: int(value) * 1024 for key, value in re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.M)}
    except (FileNotFoundError, ProcessLookupError):
        return {}


def watch(command):
    """(seconds, stderr, most of each field of /proc/PID/status)"""
    begin, most = time.perf_counter(), {}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=errors, text=True)
        while process.poll() is None:
            for key, value in proc(process.pid, "status").items():
                most[key] = max(most.get(key, 0), value)
            time.sleep(0.01)
        seconds = time.perf_counter() - begin
        errors.seek(0)
        text = errors.read()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{text}")
    return seconds, text, most


def shared_pages(command):
    """Of two processes at once: file-backed bytes of the second, and how many of them are its own alone."""
    first, second = (subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2))
    found = {}
    while first.poll() is None and second.poll() is None:
        now = proc(second.pid, "smaps_rollup")
        if now.get("Rss", 0) > found.get("Rss", 0):
            found = now
        time.sleep(0.02)
    first.wait(), second.wait()
    return found["Rss"] - found["Anonymous"], found["Private_Clean"]


def measure(args, artifact):
    bench = lambda name: f"{args.build}/bin/llmopt-{name}"
    rows = []
    row = lambda title, value, unit, limit: rows.append(dict(title=title, value=value, unit=unit, limit=limit))
    seconds, _, most = watch([bench("compile"), args.folder, "-O3", "-q", "--dtype", args.dtype, "--weights=random:1", "-o", artifact])
    summary = json.loads(subprocess.run([bench("inspect"), artifact, "--json"], stdout=subprocess.PIPE, check=True).stdout)
    weights = json.loads(subprocess.run([bench("inspect"), artifact, "--weights", "--json"], stdout=subprocess.PIPE, check=True).stdout)
    largest = max(tensor["bytes"] for tensor in weights)
    row("compile, -O3", seconds, "s", 60)
    row("most memory while compiling, beyond the page cache", most["RssAnon"] / 1e6, "MB", (4 * largest + 500e6) / 1e6)
    sections = {section["name"]: section["bytes"] for section in summary["sections"]}
    tokens = len(IDS.split()) + GENERATE
    blocks = (tokens + 63) // 64
    cache = blocks * 64 * summary["cache_bytes_per_token"]
    needed = sections["weights"] + cache + sum(size for name, size in sections.items() if name.startswith("plan/"))
    command = [bench("run"), artifact, "--ids", IDS, "--max-tokens", GENERATE, "--ignore-eos", "--print-ids", "--perf"]
    runs = [watch(command) for _ in range(args.rounds + 1)][1:]  # the first warms up
    loads = [float(re.search(r"^load: ([0-9.]+) ms", text, re.M).group(1)) for _, text, _ in runs]
    row(f"load of {os.path.getsize(artifact) / 1e9:.2f} GB, page cache warm (median of {args.rounds})", statistics.median(loads), "ms", 50)
    row("peak resident memory, to weights, keys and values, and plan", max(most["VmHWM"] for _, _, most in runs) / needed, "", 1.05)
    mapped, own = shared_pages(command)
    row("mapped pages of a second process that it does not share", own / mapped, "", 0.01)
    return rows, dict(artifact_bytes=os.path.getsize(artifact), weights=sections["weights"], cache=cache, largest_tensor=largest, loads_ms=loads,
                      anonymous_bytes=max(most["RssAnon"] for _, _, most in runs))


def markdown(rows):
    number = lambda value: f"{value:,.3f}" if value < 10 else f"{value:,.0f}"
    lines = ["| what | measured | limit |", "|---|---|---|"]
    return "\n".join(lines + [f"| {row['title']} | {number(row['value'])} {row['unit']} | {number(row['limit'])} {row['unit']} |" for row in rows]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("folder")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--build", default=os.environ.get("LLMOPT_BUILD", f"{root}/build"))
    parser.add_argument("--scratch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        rows, facts = measure(args, os.path.join(scratch, "model.llmopt"))
    print(markdown(rows))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(machine=f"{platform.machine()}, {os.cpu_count()} processors", date=time.strftime("%Y-%m-%d"), rows=rows, **facts), file, indent=1)
    if args.markdown:
        with open(args.markdown, "w") as file:
            file.write(markdown(rows))


if __name__ == "__main__":
    main()
