"""What the end-to-end scripts share: where things are, running the tools, saying PASS, FAIL and SKIP."""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build"))
DATA = os.environ.get("LLMOPT_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))
SCRATCH = tempfile.TemporaryDirectory(prefix="llmopt-e2e-")
CPU_TARGETS = ["x86-64", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16", "x86-64-v4-amx"]
# The stand-in for NVIDIA's driver; images are made anew.
stand_in = {"LLMOPT_LIBCUDA": os.path.join(BUILD, "test", "lib", "libllmopt_standin.so"), "LLMOPT_CACHE_DIR": "off"}
failures = 0


def say(outcome, name, reason=""):
    global failures
    failures += outcome == "FAIL"
    print(f"{outcome} {name} {reason}".rstrip(), flush=True)


def check(name, condition, reason=""):
    say("PASS" if condition else "FAIL", name, "" if condition else reason)
    return condition


def finish():
    sys.exit(1 if failures else 0)


def data(*parts):
    """A path in the test data; ends the script as skipped where it is absent."""
    path = os.path.join(DATA, *parts)
    if not os.path.exists(path):
        say("SKIP", os.path.basename(sys.argv[0]), f"no test data at {os.path.join(*parts)}")
        sys.exit(0)
    return path


def scratch(name):
    return os.path.join(SCRATCH.name, name)


def tool(name, *arguments, env=None, timeout=600):
    """Runs a program of the build: exit status, standard output (bytes), standard error (text)."""
    command = [os.path.join(BUILD, "bin", name), *map(str, arguments)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, **(env or {})), timeout=timeout)
    except subprocess.TimeoutExpired:
        return 124, b"", f"took longer than {timeout} s"
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def compile_model(source, name, *flags):
    """An artifact in the scratch folder; None (and a FAIL line) when it cannot be compiled."""
    output = scratch(name + ".llmopt")
    code, _, errors = tool("llmopt-compile", source, "-o", output, "-q", *flags)
    if code:
        say("FAIL", f"compile {name}", errors.strip().replace("\n", " ")[:300])
        return None
    return output


def no_compiler(code, errors):
    """Whether llmopt-compile missed what translates a GPU's kernels, or their host images."""
    return code == 3 and "E0982" in errors


def runs_here(target):
    code, text, _ = tool("llmopt-compile", "--list-targets")
    line = next(line for line in text.decode().splitlines() if line.split()[0] == target)
    return "cannot run" not in line
