#!/usr/bin/env python3
# llmopt-test: quick
"""--report: the data agrees with the artifact, names cannot become markup, and the page opens in a real browser without an error in its
console. LLMOPT_SCREENSHOTS=DIR keeps pictures of it. Without chromium (Debian's package) that part is skipped."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD, DATA = os.environ["LLMOPT_BUILD"], os.environ.get("LLMOPT_TEST_DATA", "")
MODEL = """
func.func @main(%x: tensor<?x16xf32> {llm.name = "x", llm.dims = ["seq", 16]}) -> (tensor<?x16xf32> {llm.name = "y"}) {
  %w = llm.constant dense<0.01> : tensor<16x16xf32>
  %a = llm.matmul %x, %w : tensor<?x16xf32>, tensor<16x16xf32> -> tensor<?x16xf32> loc("</script><b>/fc")
  %p = llm.softmax %a {axis = 1 : i64} : tensor<?x16xf32> loc("/softmax")
  %g = llm.sigmoid %p : tensor<?x16xf32>
  %y = llm.mul %p, %g : tensor<?x16xf32>, tensor<?x16xf32> -> tensor<?x16xf32> loc("/act")
  return %y : tensor<?x16xf32>
}
"""
failures = 0


def check(name, condition, shown=""):
    global failures
    failures += not condition
    print(("PASS " if condition else "FAIL ") + name + ("" if condition else ": " + str(shown)[:800]))


def compile(model, folder, report, *flags):
    return subprocess.run([os.path.join(BUILD, "bin", "llmopt-compile"), model, "-o", os.path.join(folder, "m.llmopt"), "--report", report, "--progress=none",
                           "--no-tokenizer", *flags], capture_output=True, text=True)


def browse(browser, page, shot, size):
    """The finished document and what the console said."""
    flags = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--v=0",
             f"--user-data-dir={os.path.dirname(page)}/profile", f"--window-size={size}", "--virtual-time-budget=4000", "file://" + page]
    dom = subprocess.run([*flags[:-1], "--dump-dom", flags[-1]], capture_output=True, text=True, timeout=120)
    if shot:
        subprocess.run([*flags[:-1], "--screenshot=" + shot, flags[-1]], capture_output=True, timeout=120)
    return dom.stdout, [line for line in dom.stderr.splitlines() if ":CONSOLE" in line]


def data(folder):
    model, report = os.path.join(folder, "m.mlir"), os.path.join(folder, "r.json")
    with open(model, "w") as file:
        file.write(MODEL)
    done = compile(model, folder, report)
    if done.returncode:
        return check("compiles with a report", False, done.stderr)
    found = json.load(open(report))
    stages = found["entries"][0]["stages"]
    linear = [s for s in stages if s["family"] == "linear"]
    check("work of a product", len(linear) == 1 and linear[0]["flops"] >= 2 * 128 * 16 * 16 and linear[0]["bytes"] >= 16 * 16 * 4, stages)
    machine = os.path.join(folder, "machine.json")
    with open(machine, "w") as file:
        json.dump({"version": 1, "host": "h", "processor": "p", "caches": [], "barriers": [],
                   "reading": [{"threads": 1, "streams": 1, "bytes": 1000000, "bytes_per_second": 1e9}],
                   "arithmetic": [{"format": "f32", "instruction": "i", "threads": 1, "operations_per_second": 1e10}]}, file)
    limited = os.path.join(folder, "limited.json")
    os.environ["LLMOPT_MACHINE_FILE"] = machine
    compile(model, folder, limited)
    del os.environ["LLMOPT_MACHINE_FILE"]
    rows = json.load(open(limited))["entries"][0]["stages"]
    check("the machine's limits", all(abs(s["floor"] - max(s["bytes"] / 1e9, s["flops"] / 1e10)) < 1e-12 and
                                      (s["bound"] == "reading") == (s["bytes"] / 1e9 >= s["flops"] / 1e10) for s in rows), rows)
    check("fusions are in it", any(r["name"] == "fuse-silu" and r["kind"] == "passed" for r in found["remarks"]), found["remarks"])
    check("times of passes", any(name == "llmopt-fuse" and seconds > 0 for name, seconds in found["passes"]), found["passes"])
    check("command and hashes", "--report" in found["command"] and all(re.fullmatch("[0-9a-f]+", f.get("hash", "")) for f in found["files"]), found["files"])
    page = os.path.join(folder, "r.html")
    compile(model, folder, page)
    text = open(page).read()
    check("one file, nothing from elsewhere", not re.search(r"""(src|href)=["']?(https?:|//)|@import|url\(""", text))
    check("names are no markup", text.count("</script>") == 2 and "</script><b>" not in text)
    return page


with tempfile.TemporaryDirectory(prefix="llmopt-report-") as folder:
    pages = {"small": data(folder)}
    for name, path in (("capp-gpt", "capp-gpt/model.onnx"), ("encoder", "ort-models/transformers/TFBertForQuestionAnswering/model.onnx")):
        model, page = os.path.join(DATA, path), os.path.join(folder, name + ".html")
        if os.path.exists(model):
            done = compile(model, folder, page, "-O3")
            check(name + " has a report", done.returncode == 0, done.stderr)
            pages[name] = page
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"], capture_output=True, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
        browser = shutil.which("chromium")
    if not browser:
        print("SKIP report in a browser: no chromium")
    shots = os.environ.get("LLMOPT_SCREENSHOTS")
    for name, page in pages.items() if browser else ():
        for kind, size in (("wide", "1100,1400"), ("phone", "420,900")):
            shot = os.path.join(shots, f"report-{name}-{kind}.png") if shots and name != "small" else None
            dom, console = browse(browser, page, shot, size)
            check(f"{name} ({kind}): rendered, console silent", not console and dom.count("<h2>") >= 7 and "<tr>" in dom, console or dom[-500:])
sys.exit(1 if failures else 0)
