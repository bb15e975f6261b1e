#!/usr/bin/env python3
# llmopt-test: quick
"""The runtime's programs on toy artifacts: results on stdout, exit status, messages."""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build"))
FOLDER = tempfile.TemporaryDirectory(prefix="llmopt-tools-")


def at(name):
    return os.path.join(FOLDER.name, name)


def read(name):
    with open(at(name), "rb") as file:
        return file.read()


def write(name, data):
    with open(at(name), "wb") as file:
        file.write(data)
    return at(name)


def run(name, *arguments, env=None, typed=""):
    command = [os.path.join(BUILD, "bin", "llmopt-" + name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, input=typed, env=dict(os.environ, **(env or {})), timeout=120)
    return done.returncode, done.stdout, done.stderr


def npy(name, dtype, shape, values):
    """A .npy file without NumPy."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    code = {"<f4": "f", "<i4": "i", "<i8": "q"}[dtype]
    return write(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}{code}", *values))


def read_npy(path):
    data = read(path)
    length = struct.unpack_from("<H", data, 8)[0]
    header = eval(data[10:10 + length])  # written by the program under test
    body = data[10 + length:]
    return header["shape"], struct.unpack(f"<{len(body) // 4}f", body)


class Run(unittest.TestCase):
    def test_profile(self):
        """Stages one by one; with a limit that one operation a second sets, each stage is far beyond it."""
        limit = dict(version=1, host="h", processor="p", caches=[], barriers=[], arithmetic=[], reading=[dict(threads=1, streams=1, bytes=1 << 30, bytes_per_second=1e-3)])
        write("limits.json", json.dumps(limit).encode())
        code, text, errors = run("run", at("decoder.llmopt"), "--ids", "1 2 3", "--max-tokens", 2, "--profile=stages", "-t", 1,
                                 env=dict(LLMOPT_MACHINE_FILE=at("limits.json")))
        self.assertEqual(code, 0, errors)
        stages = int(re.search(r"step: (\d+) stages", errors).group(1))
        rows = [line for line in errors.splitlines() if re.match(r" *[0-9.]+% ", line)]
        self.assertGreaterEqual(len(rows), stages)
        self.assertGreater(float(re.search(r"all stages: ([0-9.]+)% of the limit of 1 thread \(", errors).group(1)), 1e6)
        self.assertEqual(run("run", at("decoder.llmopt"), "--ids", "1 2 3", "--profile=rows")[0], 2)
        code, _, errors = run("run", at("decoder.llmopt"), "--ids", "1", "--max-tokens", 1, "--trace", at("no/such/folder"))
        self.assertEqual(code, 1)
        self.assertIn("E0104", errors)

    def test_ids(self):
        prompt, answer = read("cases.tsv").decode().splitlines()[1].split("\t")[:2]
        for artifact in ("decoder", "graph-decoder"):
            code, text, errors = run("run", at(artifact + ".llmopt"), "--ids", prompt, "--max-tokens", 12)
            self.assertEqual((code, text.split(), errors), (0, answer.split(), ""))

    def test_text_and_echo(self):
        code, text, _ = run("run", at("text-decoder.llmopt"), "--prompt", "w1 w2 w3", "-n", 4)
        self.assertEqual(code, 0)
        self.assertRegex(text, r"^w1 w2 w3( w\d+){1,4}\n$")
        code, answer, _ = run("run", at("text-decoder.llmopt"), "--prompt", "w1 w2 w3", "-n", 4, "--no-echo")
        self.assertEqual(text, "w1 w2 w3" + answer)
        code, ids, _ = run("run", at("text-decoder.llmopt"), "--prompt", "w1 w2 w3", "-n", 4, "--print-ids")
        self.assertEqual(answer.replace("w", "").split(), ids.split())

    def test_prompts_from_files(self):
        for text in ("w1 w2 w3", "w1 w2 w3\n", "w1 w2 w3\r\n"):
            wanted = run("run", at("text-decoder.llmopt"), "--prompt", "w1 w2 w3", "-n", 4)
            self.assertEqual(run("run", at("text-decoder.llmopt"), "-f", write("prompt.txt", text.encode()), "-n", 4), wanted)
            self.assertEqual(run("run", at("text-decoder.llmopt"), "--prompt-file", "-", "-n", 4, typed=text), wanted)

    def test_flags_without_effect(self):
        self.assertIn("do nothing at --temperature 0", run("run", at("decoder.llmopt"), "--ids", "1", "--top-p", "0.9", "-n", 2)[2])
        self.assertEqual(run("run", at("decoder.llmopt"), "--ids", "1", "--top-p", "0.9", "--temperature", "1", "-n", 2)[2], "")

    def test_seeds(self):
        def draw(seed):
            return run("run", at("decoder.llmopt"), "--ids", "1 2", "--temperature", 30, "--seed", seed, "--ignore-eos", "-n", 20)[1]
        self.assertEqual(draw(1), draw(1))
        self.assertNotEqual(draw(1), draw(2))

    def test_tensors(self):
        a = npy("a.npy", "<f4", [4], [1, 2, 3, 4])
        b = npy("b.npy", "<f4", [2, 2], [10, 20, 30, 40])
        good = npy("sum.npy", "<f4", [4], [11, 22, 33, 44])
        bad = npy("bad.npy", "<f4", [4], [11, 22, 33.5, 44])
        inputs = ["--input", f"a=@{a}", "--input", f"b=@{b}"]
        code, text, _ = run("run", at("graph.llmopt"), *inputs, "--output-dir", at("out"))
        self.assertEqual((code, text), (0, "sum: f32[4]\nz: f32[2, 2]\n"))
        self.assertEqual(read_npy(at("out/z.npy")), ((2, 2), (22, 44, 66, 88)))
        code, text, _ = run("run", at("graph.llmopt"), *inputs, "--expected", f"sum=@{good}")
        self.assertEqual((code, text), (0, "sum: equal\n"))
        code, _, errors = run("run", at("graph.llmopt"), *inputs, "--expected", f"sum=@{bad}")
        self.assertEqual(code, 5)
        self.assertIn("1 of 4 elements; worst at 2: 33, expected 33.5", errors)
        self.assertEqual(run("run", at("graph.llmopt"), *inputs, "--expected", f"sum=@{bad}", "--atol", 0.6)[0], 0)

    def test_mistakes(self):
        for status, words, arguments in [
            (2, "did you mean --prompt?", [at("decoder.llmopt"), "--promt", "x"]),
            (2, "artifact is required", []),
            (2, "nothing to run on", [at("decoder.llmopt")]),
            (2, "exclude each other", [at("decoder.llmopt"), "--ids", "1", "--prompt", "x"]),
            (2, "temperature is nan", [at("decoder.llmopt"), "--ids", "1", "--temperature", "nan"]),
            (2, "'x' is not a token id", [at("decoder.llmopt"), "--ids", "1 x"]),
            (1, "cannot be opened", [at("missing.llmopt"), "--ids", "1"]),
            (1, "not an llmopt artifact", [at("cases.tsv"), "--ids", "1"]),
            (1, "token id 99 is outside the vocabulary (0 to 52)", [at("decoder.llmopt"), "--ids", "99"]),
            (3, "has no tokenizer", [at("decoder.llmopt"), "--prompt", "x"]),
            (3, "runs in steps", [at("decoder.llmopt"), "--input", f"a=@{npy('x.npy', '<f4', [1], [1])}"]),
            (4, "context is 500", [at("decoder.llmopt"), "--ids", "1 " * 501]),
        ]:
            code, text, errors = run("run", *arguments)
            self.assertEqual((code, text), (status, ""), errors)
            self.assertIn(words, errors)

    def test_other_device(self):
        code, _, errors = run("run", at("decoder.llmopt"), "--ids", "1", "--device", "cuda")
        self.assertEqual(code, 3)
        self.assertIn("needs the CPU, and device 'cuda' was asked for", errors)
        self.assertIn("compiled for one", errors)

    def test_other_machine(self):
        code, _, errors = run("run", at("decoder.llmopt"), "--ids", "1", env={"LLMOPT_CPU": "z80"})
        self.assertEqual(code, 2)
        self.assertIn("LLMOPT_CPU", errors)


class Eval(unittest.TestCase):
    def test_generate(self):
        for artifact in ("decoder", "graph-decoder"):
            for batch in (1, 7):
                code, text, errors = run("eval", "generate", at(artifact + ".llmopt"), "--cases", at("cases.tsv"), "--batch", batch)
                self.assertEqual((code, text), (0, "20 of 20 answers are equal\n"), errors)

    def test_generate_tells_differences(self):
        write("wrong.tsv", read("cases.tsv") + b"1 2 3\t52 52\n")
        code, text, errors = run("eval", "generate", at("decoder.llmopt"), "--cases", at("wrong.tsv"))
        self.assertEqual((code, text), (5, "20 of 21 answers are equal\n"))
        self.assertIn("expected 52 52", errors)

    def test_logits_of_all_forms_agree(self):
        rows = [[3, 9, 4, 7, 30, 2], [0, 0, 5, 6, 7, 8]]
        ids = npy("ids.npy", "<i8", [2, 6], rows[0] + rows[1])
        mask = npy("mask.npy", "<i8", [2, 6], [1] * 6 + [0, 0, 1, 1, 1, 1])
        results = []
        for artifact in ("decoder", "graph-decoder"):
            code, _, errors = run("eval", "logits", at(artifact + ".llmopt"), "--ids", ids, "--mask", mask, "-o", at("logits.npy"))
            self.assertEqual(code, 0, errors)
            results.append(read_npy(at("logits.npy")))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0][0], (2, 6, 53))
        run("eval", "logits", at("decoder.llmopt"), "--ids", npy("one.npy", "<i4", [4], rows[1][2:]), "-o", at("one-logits.npy"))
        shape, values = read_npy(at("one-logits.npy"))
        self.assertEqual((shape, values), ((4, 53), results[0][1][8 * 53:]))

    def test_encoder_decoder(self):
        ids, target = npy("source.npy", "<i4", [2, 3], [1, 2, 3, 4, 5, 6]), npy("target.npy", "<i4", [2, 2], [2, 7, 2, 9])
        code, _, errors = run("eval", "logits", at("encoder-decoder.llmopt"), "--ids", ids, "--decoder-ids", target, "-o", at("ed.npy"))
        self.assertEqual(code, 0, errors)
        self.assertEqual(read_npy(at("ed.npy"))[0], (2, 2, 53))
        code, _, errors = run("eval", "logits", at("encoder-decoder.llmopt"), "--ids", ids, "-o", at("ed.npy"))
        self.assertEqual(code, 2)

    def test_perplexity(self):
        write("text.txt", " ".join(f"w{i * i % 53}" for i in range(700)).encode())
        code, text, errors = run("eval", "perplexity", at("text-decoder.llmopt"), "--text", at("text.txt"), "--json")
        self.assertEqual(code, 0, errors)
        self.assertEqual(json.loads(text)["tokens"], 700)
        code, _, errors = run("eval", "perplexity", at("text-decoder.llmopt"), "--text", at("decoder.llmopt"))
        self.assertNotEqual(code, 70, errors)


class Bench(unittest.TestCase):
    def test_json(self):
        code, text, errors = run("bench", at("decoder.llmopt"), "-p", "16,32", "-n", 4, "-d", "0,64", "-t", "1,2", "-r", 2, "-o", "json")
        self.assertEqual(code, 0, errors)
        rows = json.loads(text)
        self.assertEqual(len(rows), 12)
        for key in ("n_prompt", "n_gen", "n_depth", "n_threads", "avg_ts", "stddev_ts", "samples_ts"):
            self.assertIn(key, rows[0])
        self.assertEqual(len(rows[0]["samples_ts"]), 2)
        self.assertEqual({(row["n_prompt"], row["n_gen"], row["n_depth"]) for row in rows},
                         {(p, n, d) for p, n in ((16, 0), (32, 0), (0, 4)) for d in (0, 64)})

    def test_defaults_fit_the_context(self):
        code, text, errors = run("bench", at("decoder.llmopt"), "-d", "0,450", "-r", 1)
        self.assertEqual(code, 0, errors)
        for test in ("pp500", "tg128", "pp50 @ d450", "tg50 @ d450"):
            self.assertIn(f" {test} ", text)

    def test_table_and_shapes(self):
        code, text, errors = run("bench", at("decoder.llmopt"), "-p", 8, "-n", 2, "-d", 3, "-r", 1, "--profile", "--trace", at("trace.json"))
        self.assertEqual(code, 0)
        self.assertIn("pp8 @ d3", text)
        self.assertRegex(errors, r"step: [1-9][0-9]* stages, [0-9]+ barriers")
        self.assertIn("of limit", errors)
        events = json.loads(read("trace.json"))["traceEvents"]
        self.assertTrue(events)
        for key in ("name", "cat", "ph", "pid", "tid", "ts", "dur"):
            self.assertIn(key, events[0])
        code, text, errors = run("bench", at("graph.llmopt"), "--shape", "a=64", "--shape", "b=32x2", "-r", 3, "-o", "json")
        self.assertEqual(code, 0, errors)
        self.assertEqual(json.loads(text)[0]["runs"], 3)
        self.assertIn("p99_ms", json.loads(text)[0])
        code, _, errors = run("bench", at("graph.llmopt"), "--shape", "a=64")
        self.assertEqual(code, 2)
        self.assertIn("give --shape b=...", errors)
        for shape in ("a=99999999999", "a=99999999999x99999999999"):
            code, _, errors = run("bench", at("graph.llmopt"), "--shape", shape)
            self.assertEqual(code, 4, errors)
            self.assertIn("E1502", errors)
        code, _, errors = run("bench", at("decoder.llmopt"), "-p", "1-4000000000")
        self.assertEqual(code, 2)
        self.assertIn("more than 10000 numbers", errors)
        code, _, errors = run("bench", at("graph.llmopt"))
        self.assertEqual(code, 3)
        self.assertIn("--shape NAME=8x128", errors)


class Inspect(unittest.TestCase):
    def test_all(self):
        artifact = at("encoder-decoder.llmopt")
        code, text, _ = run("inspect", artifact)
        self.assertEqual(code, 0)
        for words in ("entry step", "entry encode", "runs here", "logits f32[rows, 53]", "encoder-decoder"):
            self.assertIn(words, text)
        code, text, _ = run("inspect", artifact, "--json")
        self.assertEqual(json.loads(text)["states"], 3)
        for flag in ("--weights", "--stages", "--metadata", "--verify", "--compat"):
            self.assertEqual(run("inspect", artifact, flag)[0], 0)

    def test_damage(self):
        data = bytearray(read("decoder.llmopt"))
        data[-1] ^= 1  # in the model's metadata, which is the last section
        write("damaged.llmopt", data)
        code, _, errors = run("inspect", at("damaged.llmopt"))
        self.assertEqual(code, 5)
        self.assertIn("section 'model'", errors)


class Lines(unittest.TextTestResult):
    """PASS and FAIL lines, which run_tests.py counts."""

    def addSuccess(self, test):
        print("PASS", test.id().removeprefix("__main__."), flush=True)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        print("FAIL", test.id().removeprefix("__main__."), flush=True)

    addError = addFailure


if __name__ == "__main__":
    toys = os.path.join(BUILD, "test", "bin", "llmopt-write-toys")
    if not os.path.exists(toys):
        print("SKIP tools: the build has no toy artifacts")
        sys.exit(0)
    subprocess.run([toys], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, LLMOPT_TOY_FOLDER=FOLDER.name))
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=Lines, verbosity=0))
