#!/usr/bin/env python3
# llmopt-test: quick
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows E (artifacts) and F (programs) of docs/BadInput.md through the programs."""
import json
import os
import random
import resource
import signal
import struct
import subprocess
import time

from harness import (CRASHES, ROOT, VOCABULARY, accepted, compile_command, compile_refused, compiled, copied, execute, finish, folder, llama,
                     path_of, program, refused, report, tensors, tokenizer)


def run(artifact, *flags):
    return [program("run"), artifact, "--ids", "1 3", "-n", "4", *flags]


def changed(artifact, where, at, value=None):
    copy = copied(artifact, where)
    with open(copy, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 0x40]) if value is None else value)
    return copy


def flips(artifact, where):
    """Row E01; every byte of header and table is flipped by ArtifactFile.EveryFlipInHeaderAndTableIsSeen."""
    data = open(artifact, "rb").read()
    table = struct.unpack_from("<Q", data, 16)[0]
    for at in sorted(random.Random(1).sample(range(64 + table), 12)):
        refused("E01", f"header_{at}", run(changed(artifact, where, at)), 5)
    sections = json.loads(data[64:64 + table])["sections"]
    for section in sections:
        at = section["offset"] + section["length"] // 2
        refused("E01", section["name"].replace("/", "_"), run(changed(artifact, where, at), "--verify"), 5,
                f"checksum mismatch in section '{section['name']}'")
    for at in random.Random(2).sample(range(16384, len(data)), 20):
        refused("E01", f"random_{at}", run(changed(artifact, where, at), "--verify"), 5)
    for length in (0, 1, 63, 64, 4096, len(data) // 2, len(data) - 1):
        copy = copied(artifact, where)
        os.truncate(copy, length)
        refused("E01", f"cut_{length}", run(copy), 1 if length < 8 else 5)
    refused("E01", "appended", run(changed(artifact, where, len(data) - 1, data[-1:] + b"x")), 5, "should have")
    return sections


def other_files(artifact, where):
    """Row E07: a section out of another compilation, of the same size."""
    with llama(weights=tensors()[:-4] + struct.pack("<f", 9), files={"tokenizer.json": tokenizer(model={"merges": ["b a"], "vocab": dict(
            {k: v for k, v in VOCABULARY.items() if k != "ab"}, ba=5)})}) as model:
        other = path_of(where, "other.llmopt")
        status, _, err, _ = execute(compile_command(model, other))
        report("E07", "setup", err if status else None)
    good, bad = open(artifact, "rb").read(), open(other, "rb").read()
    rows = [{s["name"]: s for s in json.loads(d[64:64 + struct.unpack_from("<Q", d, 16)[0]])["sections"]} for d in (good, bad)]
    for name in ("weights", "tokenizer"):
        mine, theirs = rows[0][name], rows[1][name]
        if mine["length"] != theirs["length"]:
            report("E07", name, "the two sections differ in length")
            continue
        copy = changed(artifact, where, mine["offset"], bad[theirs["offset"]:theirs["offset"] + theirs["length"]])
        refused("E07", name, [program("run"), copy, "--prompt", "ab", "--verify"], 5, f"section '{name}'")


def writers(where):
    """Row E09: two compilations with one output, and compilations that are killed at any time."""
    with llama() as model:
        out = os.path.join(where, "race")
        os.makedirs(out)
        artifact = path_of(out, "model.llmopt")
        both = [subprocess.Popen(compile_command(model, artifact), stderr=subprocess.DEVNULL) for _ in range(2)]
        report("E09", "two_writers", None if [p.wait() for p in both] == [0, 0] else "one of them failed")
        accepted("E09", "two_writers_result", run(artifact, "--verify"))
        start = time.time()
        subprocess.run(compile_command(model, artifact), stderr=subprocess.DEVNULL, check=True)
        seconds, whole = time.time() - start, open(artifact, "rb").read()
        for i in range(12):
            child = subprocess.Popen(compile_command(model, artifact), stderr=subprocess.DEVNULL)
            time.sleep(seconds * (i + 0.5) / 12)
            child.send_signal(signal.SIGKILL if i % 2 else signal.SIGINT)
            child.wait()
            problem = None if open(artifact, "rb").read() == whole else "the old file has changed"
            if os.listdir(out) != ["model.llmopt"]:
                problem = f"left behind: {os.listdir(out)}"
            report("E09", f"killed_{i}", problem)


def shrinks(where):
    """Row E10: the file is cut off in the middle of an answer."""
    artifact = path_of(where, "story.llmopt")
    story = os.path.join(ROOT, "test", "models", "storyteller")
    status, _, err, _ = execute([program("compile"), story, "-o", artifact, "-O1", "--target", "x86-64", "--progress", "none"], timeout=900)
    report("E10", "setup", err if status else None)
    child = subprocess.Popen([program("run"), artifact, "--prompt", "One morning", "-n", "400", "--ignore-eos", "--no-echo", "-t", "1"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(1)
    os.truncate(artifact, 16384)
    _, err = child.communicate(timeout=300)
    err = err.decode(errors="replace")
    wanted = child.returncode == 1 and err.startswith("error[E0105]") and "story.llmopt" in err and not CRASHES.search(err)
    report("E10", "shrinks_while_running", None if wanted else f"exit status {child.returncode}: {err[-400:]}")


def machines(where):
    """Row E04: code for a machine that this one is not (LLMOPT_CPU takes features away from any machine)."""
    artifact = path_of(where, "v4.llmopt")
    with llama() as model:
        status, _, err, _ = execute([program("compile"), model, "-o", artifact, "-O0", "--target", "x86-64-v4", "--progress", "none"])
        report("E04", "setup", err if status else None)
    env = {"LLMOPT_CPU": "x86-64-v3"}
    refused("E04", "other_cpu", run(artifact), 3, "E0206", "needs", "avx512f", "this CPU has", env=env)


PLUGIN = """struct info { unsigned api; const char *name, *version; void (*add)(void); };
static void add(void) {}
struct info mlirGetPassPluginInfo(void) { struct info i = {API, "fuse-nothing", "llmopt 0.1, LLVM 21.1.0", add}; return i; }
"""


def plugins(where):
    """Row F03."""
    def loads(name, status, *texts, source="int nothing;", flags=()):
        library = os.path.join(where, name + ".so")
        code, _, err, _ = execute(["clang-22", "-shared", "-fPIC", path_of(where, name + ".c", source), *flags, "-o", library])
        report("F03", name + "_setup", err if code else None)
        with llama() as model:
            compile_refused("F03", name, model, status, library, *texts, flags=["--load-pass-plugin", library])
    loads("no_plugin", 1, "E0307")
    loads("other_api", 1, "E0307", source=PLUGIN, flags=["-DAPI=999"])
    loads("other_llvm", 3, "built for 'llmopt 0.1, LLVM 21.1.0'", "this is 'llmopt 0.1, LLVM 22", source=PLUGIN, flags=["-DAPI=1"])


def programs(artifact, where):
    refused("F02", "missing", compile_command(path_of(where, "ghost.onnx"), path_of(where, "o.llmopt")), 1, "ghost.onnx", "no such file")
    empty = os.path.join(where, "empty")
    os.makedirs(empty)
    compile_refused("F02", "no_config", empty, 1, "config.json")
    unreadable = path_of(where, "secret.onnx", b"x")
    os.chmod(unreadable, 0)
    os.chmod(where, 0o755)
    # Root reads everything, so it becomes somebody else for this.
    other = {"user": 65534, "cwd": "/"} if os.geteuid() == 0 else {}
    if other and execute([program("compile"), "--list-targets"], **other)[0]:
        print("SKIP F02_permission: the programs cannot be run by another user here")
    else:
        refused("F02", "permission", compile_command(unreadable, "/dev/shm/never.llmopt"), 1, "secret.onnx", "Permission denied", **other)
    refused("F02", "no_output_folder", compile_command(os.path.join(ROOT, "test", "models", "storyteller"), path_of(where, "no/where.llmopt")), 1,
            "no/where.llmopt")
    for name in ("run", "eval", "bench", "inspect"):
        flags = {"run": ["--ids", "1"], "eval": [], "bench": [], "inspect": []}[name]
        command = [program(name), *(["perplexity"] if name == "eval" else []), path_of(where, "text.llmopt", b"no artifact"), *flags]
        if name == "eval":
            command += ["--text", path_of(where, "text.txt", b"a b")]
        refused("F02", f"{name}_no_artifact", command, 1, "not an llmopt artifact")
    # The reader of a pipe goes away.
    child = subprocess.Popen([program("run"), artifact, "--ids", "1 3", "-n", "50", "--ignore-eos"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    err = child.stderr.read().decode()
    status = child.wait()
    report("F05", "closed_pipe", None if status == -signal.SIGPIPE and not err else f"exit status {status}: {err}")
    with open("/dev/full", "w") as full:
        done = subprocess.run([program("run"), artifact, "--ids", "1 3"], stdout=full, stderr=subprocess.PIPE, text=True)
    report("F05", "full_disk", None if done.returncode == 1 and "standard output" in done.stderr else f"exit status {done.returncode}: {done.stderr}")
    story = os.path.join(ROOT, "test", "models", "storyteller")
    refused("F05", "full_scratch", compile_command(story, path_of(where, "never.llmopt")), 1, "E0905", "temporary file", restore_signals=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    refused("F05", "no_scratch", compile_command(story, path_of(where, "never.llmopt")), 1, "E0104", "is TMPDIR writable?", env={"TMPDIR": "/nowhere"})
    refused("F05", "full_output", compile_command(os.path.join(ROOT, "test", "models", "storyteller"), "/dev/full"), 1, "/dev/full")


with folder() as where:
    good = compiled(where)
    accepted("E01", "good", run(good, "--verify"))
    flips(good, where)
    other_files(good, where)
    writers(where)
    machines(where)
    plugins(where)
    programs(good, where)
    shrinks(where)
finish()
