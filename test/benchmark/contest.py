# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the comparisons with other programs share: peers as processes that stand still while it is not their turn, turns, and the tables of what came out.

A contestant has a `name`, `output(shape)` (an array), `run(shape, repeats)` (a list of seconds) and `stop()`."""
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time


# ---------------------------------------------------------------------------------------------------------------------------------------
# In the peer's process
# ---------------------------------------------------------------------------------------------------------------------------------------


def keep_to_threads(threads):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = str(threads)


def best_time(run, times):
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best


def answer_turns(name, runners, scratch, answers, as_array=lambda result: result):
    """Saves what each runner gives, `as_array`, then answers each line 'SHAPE REPEATS' of the standard input with a list of seconds."""
    import numpy as np

    for shape, runner in runners.items():
        np.save(os.path.join(scratch, f"{name}-{shape}.npy"), np.asarray(as_array(runner())))
    answer = os.fdopen(answers, "w", buffering=1)
    answer.write("ready\n")
    for line in sys.stdin:
        shape, repeats = line.split()
        runners[shape]()
        times = []
        for _ in range(int(repeats)):
            begin = time.perf_counter()
            runners[shape]()
            times.append(time.perf_counter() - begin)
        answer.write(json.dumps(times) + "\n")


def openvino_hints(threads, precision):
    return {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}


def onnxruntime_options(threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    return options


# ---------------------------------------------------------------------------------------------------------------------------------------
# In the contest's
# ---------------------------------------------------------------------------------------------------------------------------------------


class Peer:
    """`command` is given --peer, --scratch and --answers, and ends in `answer_turns`."""

    def __init__(self, name, command, scratch):
        answers, end = os.pipe()
        self.name, self.scratch = name, scratch
        # What a peer prints while it prepares is of interest only if it fails.
        self.log = open(os.path.join(scratch, f"{name}.log"), "w+")
        command = [sys.executable, *command, "--peer", name, "--scratch", scratch, "--answers", end]
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=self.log, stderr=self.log, pass_fds=[end], text=True)
        os.close(end)
        self.answers = os.fdopen(answers)
        if self.answers.readline() != "ready\n":
            self.log.seek(0)
            raise RuntimeError(f"{name} cannot be prepared: {self.log.read()[-800:]}")
        self.process.send_signal(signal.SIGSTOP)

    def output(self, shape):
        import numpy as np

        return np.load(os.path.join(self.scratch, f"{self.name}-{shape}.npy"))

    def run(self, shape, repeats):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{shape} {repeats}\n")
        self.process.stdin.flush()
        times = json.loads(self.answers.readline())
        self.process.send_signal(signal.SIGSTOP)
        return times

    def stop(self):
        self.process.kill()


def tool(build, name, *arguments):
    return subprocess.run([os.path.join(build, "bin", name), *map(str, arguments)], stdout=subprocess.PIPE, check=True, text=True).stdout


def bench(build, artifact, shape, threads, repeats):
    """Seconds of runs of an artifact, from llmopt-bench."""
    report = tool(build, "llmopt-bench", artifact, "--shape", shape, "-t", threads, "-r", repeats, "-o", "json")
    return [time * 1e-9 for time in json.loads(report)[0]["samples_ns"]]


def machine_limits(build, path):
    """What llmopt-bench machine finds, or has found."""
    if not os.path.exists(path):
        subprocess.run([os.path.join(build, "bin", "llmopt-bench"), "machine", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return json.load(open(path))


def peak(limits, numbers, threads):
    """The most operations a second for this element type."""
    return max(row["operations_per_second"] for row in limits["arithmetic"] if row["format"] == numbers and row["threads"] == threads)


def reading(limits, threads):
    """The most bytes a second that memory gives: footprints are rounded, and what is near the largest is in no cache."""
    rows = [row for row in limits["reading"] if row["threads"] == threads]
    return max(row["bytes_per_second"] for row in rows if row["bytes"] > max(row["bytes"] for row in rows) / 2)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} processors"


def check_outputs(contestants, shapes, tolerance):
    """The largest difference to torch, or to the first, of its largest value, by program and shape; stops where one is too far."""
    import numpy as np

    worst = {}
    for shape in shapes:
        outputs = {c.name: np.asarray(c.output(shape), np.float64) for c in contestants}
        want = outputs.get("torch", next(iter(outputs.values())))
        for name, got in outputs.items():
            difference = np.abs(got.reshape(want.shape) - want).max() / np.abs(want).max()
            worst[f"{name} {shape}"] = float(difference)
            if not difference <= tolerance:
                raise SystemExit(f"{name} at {shape}: output differs by {difference:.2e} of the largest value")
    return worst


def repeats_for(seconds):
    """Short runs are repeated, so that a turn takes some 0.1 s."""
    return max(1, min(20, int(0.1 / max(seconds, 1e-6))))


def play(contestants, shapes, rounds):
    """The medians of all turns, by program and shape: in each round every contestant runs every shape."""
    samples = {(c.name, shape): [] for c in contestants for shape in shapes}
    repeats = {shape: repeats_for(contestants[0].run(shape, 1)[0]) for shape in shapes}
    for _ in range(rounds):
        for shape in shapes:
            for contestant in contestants:
                samples[contestant.name, shape].append(statistics.median(contestant.run(shape, repeats[shape])))
    return samples


def add_earlier(before, contestants, samples):
    """Puts the earlier rounds of the shapes that were measured again, with the same programs, in front."""
    for row in before["rows"]:
        if set(row["samples"]) == {c.name for c in contestants}:
            for name, earlier in row["samples"].items():
                if (name, row["shape"]) in samples:
                    samples[name, row["shape"]] = earlier + samples[name, row["shape"]]


def row_of(shape, threads, numbers, samples, floor):
    """A row of the report: medians beside each other and beside the `floor`, in seconds."""
    own = {name: values for (name, at), values in samples.items() if at == shape}
    medians = {name: statistics.median(values) for name, values in own.items()}
    peers = {name: value for name, value in medians.items() if name != "llmopt"}
    best = min(peers, key=peers.get)
    return {"shape": shape, "threads": threads, "format": numbers, "milliseconds": {n: v * 1e3 for n, v in medians.items()}, "best_peer": best,
            "ratio": peers[best] / medians["llmopt"], "floor_milliseconds": floor * 1e3, "share_of_peak": floor / medians["llmopt"], "samples": own}


def markdown(report, limit="peak"):
    names = list(dict.fromkeys(name for row in report["rows"] for name in row["milliseconds"]))
    lines = [f"| {report['model']} {report['rows'][0]['format']} | threads | " + " | ".join(names) + f" | best peer / llmopt | llmopt, of {limit} |",
             "|" + "---|" * (len(names) + 4)]
    for row in report["rows"]:
        lines.append(f"| {row['shape']} | {row['threads']} | " + " | ".join(f"{row['milliseconds'][name]:.2f}" if name in row["milliseconds"] else "not run" for name in names)
                     + f" | {row['ratio']:.2f} | {row['share_of_peak']:.0%} |")
    return "\n".join(lines) + "\n"


def write(*files):
    for path, text in files:
        if path:
            with open(path, "w") as file:
                file.write(text)
