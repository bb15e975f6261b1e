#!/usr/bin/env python3
"""Runs the tests of a build folder and prints one closing line: "N passed, N failed, N skipped".

    run_tests.py --build build [--label quick|long] [--only REGEX]

quick   GoogleTest programs, lit suites, checks of the tree, scripts of test/integration marked `quick`
long    scripts marked `long` (large Python witnesses), and quick as well

A script says its label and its Python packages in its first lines:
    # llmopt-test: quick
    # llmopt-packages: numpy onnx
and prints "PASS name", "FAIL name reason" or "SKIP name reason" lines.
"""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, name, passed=0, failed=0, skipped=0, why="", seconds=0.0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        if failed:
            self.failures.append(f"{name}: {why}")
        print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped ({seconds:.1f} s)", flush=True)


def run(command, **kwargs):
    start = time.time()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **kwargs)
    return done.returncode, done.stdout, time.time() - start


def tail(text, lines=40):
    return "\n".join(text.splitlines()[-lines:])


def google_test(program, tally, env):
    name = os.path.basename(program)
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        code, output, seconds = run([program, f"--gtest_output=json:{report}"], env=env, cwd=ROOT)
        try:
            cases = [case for suite in json.load(open(report))["testsuites"] for case in suite["testsuite"]]
        except (OSError, ValueError, KeyError):
            print(tail(output))
            tally.add(name, failed=1, why=f"no report (exit status {code})", seconds=seconds)
            return
    failed = [c for c in cases if c.get("failures")]
    skipped = [c for c in cases if c.get("result") == "SKIPPED"]
    if failed or code:
        print(tail(output, 80))
    wrong = max(len(failed), 1 if code and not failed else 0)
    why = ", ".join(c["classname"] + "." + c["name"] for c in failed) or f"exit status {code}"
    tally.add(name, len(cases) - len(failed) - len(skipped), wrong, len(skipped), why, seconds)


def lit(build, tally, env):
    tool = next((p for p in ("/usr/lib/llvm-22/build/utils/lit/lit.py", "/usr/lib/llvm-22/bin/lit") if os.path.exists(p)), None)
    config = os.path.join(ROOT, "test", "lit.cfg.py")
    if not os.path.exists(config):
        return
    if not tool:
        tally.add("lit", skipped=1)
        return
    code, output, seconds = run([sys.executable, tool, "-sv", f"--param=build={os.path.abspath(build)}", os.path.join(ROOT, "test")], env=env)
    count = lambda word: sum(int(n) for n in re.findall(rf"^\s*{word}\s*:\s*(\d+)", output, re.M))
    failed = count("Failed") + count("Unresolved") + count("Unexpectedly Passed") + count("Timed Out")
    if failed or code:
        print(tail(output, 80))
    tally.add("lit", count("Passed"), max(failed, 1 if code and not failed else 0), count("Unsupported") + count("Skipped"), "see above", seconds)


def other_ctests(build, tally, env):
    """What is registered with ctest and is neither a GoogleTest program nor a lit suite."""
    code, output, seconds = run(["ctest", "--test-dir", build, "--output-on-failure", "-E", "(Tests|^lit_.*)$"], env=env)
    total = re.search(r"(\d+) tests? failed out of (\d+)", output)
    if not total:
        return
    failed, count = int(total.group(1)), int(total.group(2))
    if failed:
        print(tail(output, 80))
    tally.add("ctest", count - failed, failed, 0, "see above", seconds)


def marks(script):
    with open(script, encoding="utf-8") as file:
        head = file.read(2000)
    label = re.search(r"llmopt-test:\s*(\w+)", head)
    packages = re.search(r"llmopt-packages:\s*(.+)", head)
    return (label.group(1) if label else None), (packages.group(1).split() if packages else [])


def environment_with(packages, build):
    """A virtual environment that has the packages; None if they cannot be had."""
    if not packages:
        return sys.executable
    folder = os.environ.get("LLMOPT_TEST_VENV", os.path.join(os.path.abspath(build), "test", "venv"))
    python = os.path.join(folder, "bin", "python3")
    if not os.path.exists(python) and run([sys.executable, "-m", "venv", folder])[0]:
        return None
    modules = {"pyyaml": "yaml"}
    probe = "; ".join(f"import {modules.get(p.split('=')[0], p.split('=')[0].replace('-', '_'))}" for p in packages)
    if run([python, "-c", probe])[0] == 0:
        return python
    code, output, _ = run([python, "-m", "pip", "install", "-q", *packages])
    if code:
        print(tail(output, 5))
    return python if code == 0 else None


def script(path, tally, env, build):
    name = os.path.relpath(path, ROOT)
    python = environment_with(marks(path)[1], build)
    if python is None:
        tally.add(name, skipped=1)
        print(f"  {name}: its Python packages cannot be installed")
        return
    code, output, seconds = run([python, path], env=env, cwd=ROOT)
    lines = output.splitlines()
    count = lambda word: sum(line.startswith(word + " ") for line in lines)
    passed, failed, skipped = count("PASS"), count("FAIL"), count("SKIP")
    if code and not failed:
        failed = 1
    if failed:
        print(tail(output, 60))
    for line in lines:
        if line.startswith("SKIP "):
            print("  " + line)
    if not code and passed + failed + skipped == 0:
        failed = 1  # a script that tests nothing is a broken test
    tally.add(name, passed, failed, skipped, "see above", seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--label", default="quick", choices=["quick", "long"])
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    data = os.environ.get("LLMOPT_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))
    env = dict(os.environ, LLMOPT_TEST_DATA=os.path.abspath(data), LLMOPT_BUILD=build)
    wanted = lambda name: re.search(args.only, name) is not None
    tally = Tally()
    start = time.time()
    for check in filter(wanted, ("layering", "documentation")):
        code, output, seconds = run([sys.executable, os.path.join(ROOT, "tools/checks", check + ".py"), ROOT])
        if code:
            print(output)
        tally.add(check, int(code == 0), int(code != 0), why="see above", seconds=seconds)
    for program in sorted(glob.glob(os.path.join(build, "test", "bin", "*Tests"))):
        if wanted(os.path.basename(program)):
            google_test(program, tally, env)
    if wanted("lit"):
        lit(build, tally, env)
    if wanted("ctest"):
        other_ctests(build, tally, env)
    for path in sorted(glob.glob(os.path.join(ROOT, "test", "**", "*.py"), recursive=True)):
        label = marks(path)[0]
        if (label == "quick" or (label and args.label == "long")) and wanted(os.path.relpath(path, ROOT)):
            script(path, tally, env, build)
    for failure in tally.failures:
        print("failed:", failure)
    print(f"in {time.time() - start:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
