#!/usr/bin/env python3
"""Runs the tests of a build folder and prints one closing line: "N passed, N failed, N skipped".

    run_tests.py --build build [--label quick|long] [--only REGEX] [--jobs N]

quick   GoogleTest programs, lit suites, checks of the tree, scripts of test/integration marked `quick`
long    scripts marked `long` (large Python witnesses), and quick as well

A script says its label and its Python packages in its first lines:
    # llmopt-test: quick
    # llmopt-packages: numpy onnx
and prints "PASS name", "FAIL name reason" or "SKIP name reason" lines.
"""
import argparse
import concurrent.futures
import functools
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
ENVIRONMENT = threading.Lock()  # one test at a time installs packages


class Result:
    """Of one program or script: its counts and what is to be printed."""

    def __init__(self, name, passed=0, failed=0, skipped=0, why="see above", seconds=0.0, text=""):
        self.name, self.passed, self.failed, self.skipped = name, passed, failed, skipped
        self.why, self.seconds, self.text = why, seconds, text

    def __str__(self):
        line = f"{self.name}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped ({self.seconds:.1f} s)"
        return f"{self.text}\n{line}" if self.text else line


def run(command, **kwargs):
    start = time.time()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **kwargs)
    return done.returncode, done.stdout, time.time() - start


def tail(text, lines=40):
    return "\n".join(text.splitlines()[-lines:])


def check(name):
    code, output, seconds = run([sys.executable, os.path.join(ROOT, "tools/checks", name + ".py"), ROOT])
    return Result(name, int(code == 0), int(code != 0), seconds=seconds, text=output if code else "")


def google_test(program, env):
    name = os.path.basename(program)
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        code, output, seconds = run([program, f"--gtest_output=json:{report}"], env=env, cwd=ROOT)
        try:
            cases = [case for suite in json.load(open(report))["testsuites"] for case in suite["testsuite"]]
        except (OSError, ValueError, KeyError):
            return Result(name, failed=1, why=f"no report (exit status {code})", seconds=seconds, text=tail(output))
    failed = [c for c in cases if c.get("failures")]
    skipped = [c for c in cases if c.get("result") == "SKIPPED"]
    wrong = max(len(failed), 1 if code and not failed else 0)
    why = ", ".join(c["classname"] + "." + c["name"] for c in failed) or f"exit status {code}"
    return Result(name, len(cases) - len(failed) - len(skipped), wrong, len(skipped), why, seconds, tail(output, 80) if wrong else "")


def lit(build, env, jobs):
    tool = next((p for p in ("/usr/lib/llvm-22/build/utils/lit/lit.py", "/usr/lib/llvm-22/bin/lit") if os.path.exists(p)), None)
    if not tool:
        return Result("lit", skipped=1)
    command = [sys.executable, tool, "-sv", f"-j{jobs}", f"--param=build={build}", os.path.join(ROOT, "test")]
    code, output, seconds = run(command, env=env)
    count = lambda word: sum(int(n) for n in re.findall(rf"^\s*{word}\s*:\s*(\d+)", output, re.M))
    failed = count("Failed") + count("Unresolved") + count("Unexpectedly Passed") + count("Timed Out")
    failed = max(failed, 1 if code else 0)
    return Result("lit", count("Passed"), failed, count("Unsupported") + count("Skipped"), seconds=seconds, text=tail(output, 80) if failed else "")


def other_ctests(build, env):
    """What is registered with ctest and is neither a GoogleTest program nor a lit suite."""
    code, output, seconds = run(["ctest", "--test-dir", build, "--output-on-failure", "-E", "(Tests|^lit_.*)$"], env=env)
    total = re.search(r"(\d+) tests? failed out of (\d+)", output)
    if not total:
        return Result("ctest", seconds=seconds)
    failed, count = int(total.group(1)), int(total.group(2))
    return Result("ctest", count - failed, failed, seconds=seconds, text=tail(output, 80) if failed else "")


def marks(script):
    with open(script, encoding="utf-8") as file:
        head = file.read(2000)
    label = re.search(r"llmopt-test:\s*(\w+)", head)
    packages = re.search(r"llmopt-packages:\s*(.+)", head)
    return (label.group(1) if label else None), (packages.group(1).split() if packages else [])


def environment_with(packages, build):
    """The Python that has the packages, or None, and what pip said if they cannot be had."""
    if not packages:
        return sys.executable, ""
    folder = os.environ.get("LLMOPT_TEST_VENV", os.path.join(build, "test", "venv"))
    python = os.path.join(folder, "bin", "python3")
    with ENVIRONMENT:
        if not os.path.exists(python):
            code, output, _ = run([sys.executable, "-m", "venv", folder])
            if code:
                return None, tail(output, 5)
        modules = {"pyyaml": "yaml"}
        probe = "; ".join(f"import {modules.get(p.split('=')[0], p.split('=')[0].replace('-', '_'))}" for p in packages)
        if run([python, "-c", probe])[0] == 0:
            return python, ""
        code, output, _ = run([python, "-m", "pip", "install", "-q", *packages])
    return (None if code else python), tail(output, 5) if code else ""


def script(path, env, build):
    name = os.path.relpath(path, ROOT)
    python, why = environment_with(marks(path)[1], build)
    if python is None:
        return Result(name, skipped=1, text=f"{why}\n  {name}: its Python packages cannot be installed".lstrip())
    code, output, seconds = run([python, path], env=env, cwd=ROOT)
    lines = output.splitlines()
    count = lambda word: sum(line.startswith(word + " ") for line in lines)
    passed, failed, skipped = count("PASS"), count("FAIL"), count("SKIP")
    if not failed and (code or passed + skipped == 0):  # a script that tests nothing is a broken test
        failed = 1
    text = [tail(output, 60)] if failed else []
    text += ["  " + line for line in lines if line.startswith("SKIP ")]
    return Result(name, passed, failed, skipped, seconds=seconds, text="\n".join(text))


def tests(args, build, env):
    """What is wanted, as (name, function that gives a Result); the long ones first, so that no processor waits at the end."""
    scripts = [path for path in sorted(glob.glob(os.path.join(ROOT, "test", "**", "*.py"), recursive=True))
               if marks(path)[0] == "quick" or (marks(path)[0] and args.label == "long")]
    programs = sorted(glob.glob(os.path.join(build, "test", "bin", "*Tests")))
    found = [(name, functools.partial(check, name)) for name in ("layering", "documentation")]
    found += [("lit", lambda: lit(build, env, args.jobs)), ("ctest", lambda: other_ctests(build, env))]
    found += [(os.path.relpath(path, ROOT), functools.partial(script, path, env, build)) for path in scripts]
    found += [(os.path.basename(path), functools.partial(google_test, path, env)) for path in programs]
    return [(name, test) for name, test in found if re.search(args.only, name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--label", default="quick", choices=["quick", "long"])
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="tests at the same time [the processors this may use]")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    data = os.environ.get("LLMOPT_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))
    env = dict(os.environ, LLMOPT_TEST_DATA=os.path.abspath(data), LLMOPT_BUILD=build)
    start = time.time()
    results = []
    with concurrent.futures.ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        for done in concurrent.futures.as_completed([pool.submit(test) for _, test in tests(args, build, env)]):
            results.append(done.result())
            print(results[-1], flush=True)
    for result in results:
        if result.failed:
            print(f"failed: {result.name}: {result.why}")
    total = lambda what: sum(getattr(result, what) for result in results)
    print(f"in {time.time() - start:.0f} s")
    print(f"{total('passed')} passed, {total('failed')} failed, {total('skipped')} skipped")
    return 1 if total("failed") or not total("passed") else 0


if __name__ == "__main__":
    sys.exit(main())
