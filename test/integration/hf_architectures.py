#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy torch transformers
#
# Random models of every architecture, written by transformers: llmopt's logits and greedy ids against the library's.
#
#   hf_architectures.py --interpret build/test/bin/hf_interpret [name ...]     imported program, in the reference interpreter
#   hf_architectures.py --bin build/bin [name ...]                             compiled, by llmopt-compile, llmopt-eval and llmopt-run;
#                                                                              -O0 and -O3 against the interpreter
#
# Without either: compiled, by the programs of the build folder that LLMOPT_BUILD names.

import argparse
import os
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import torch
    import transformers
except ImportError as error:
    print(f"SKIP hf_architectures {error}")
    sys.exit(0)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hf_models

TOLERANCE = 1e-4
GREEDY = 12


class Interpreter:
    """The reference interpreter, by test/frontends/hf_interpret.cpp."""
    chunks = True

    def __init__(self, program, architectures):
        self.program, self.architectures = program, architectures

    def run(self, folder, options, ids, encoder_ids=None, chunk=0, greedy=0):
        out = os.path.join(folder, "llmopt.npy")
        joined = ";".join(",".join(map(str, sequence)) for sequence in ids)
        command = [self.program, folder, "--ids=" + joined, "--out=" + out, f"--chunk={chunk}", f"--greedy={greedy}"]
        if options.get("data_file"):
            command.append("--architectures=" + self.architectures)
        if encoder_ids:
            command.append("--encoder-ids=" + ",".join(map(str, encoder_ids)))
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}\nexit status {done.returncode}: {done.stderr}")
        return np.load(out), [int(word) for word in done.stdout.split()], done.stderr


class Compiled:
    """The product: an artifact, its logits and its greedy answer."""
    chunks = False

    def __init__(self, folder, architectures):
        self.programs, self.architectures = folder, architectures

    def call(self, program, *arguments):
        command = [os.path.join(self.programs, program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}\nexit status {done.returncode}: {done.stderr}")
        return done

    def run(self, folder, options, ids, encoder_ids=None, chunk=0, greedy=0):
        artifact, out = os.path.join(folder, "model.llmopt"), os.path.join(folder, "llmopt.npy")
        extra = ["--architectures", self.architectures] if options.get("data_file") else []
        warnings = "" if os.path.exists(artifact) else self.call("llmopt-compile", folder, "-o", artifact, "--no-tokenizer", "-q", *extra).stderr
        longest = max(map(len, ids))
        self.save(folder, "ids", encoder_ids or [sequence + [0] * (longest - len(sequence)) for sequence in ids])
        self.save(folder, "mask", [[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in ids])
        self.save(folder, "decoder", ids[0])
        inputs = ["--ids", os.path.join(folder, "ids.npy")]
        inputs += ["--decoder-ids", os.path.join(folder, "decoder.npy")] if encoder_ids else ["--mask", os.path.join(folder, "mask.npy")]
        self.call("llmopt-eval", "logits", artifact, *inputs, "-o", out)
        result = np.load(out)
        rows = result.reshape(-1, *result.shape[-2:])
        joined = np.concatenate([rows[i][:len(sequence)] for i, sequence in enumerate(ids)])
        answer = self.call("llmopt-run", artifact, "--ids", " ".join(map(str, encoder_ids or ids[0])), "--print-ids", "--no-echo", "--ignore-eos",
                           "-n", str(greedy)).stdout if greedy else ""
        return joined, [int(word) for word in answer.split()], warnings

    def agree(self, folder, options):
        """-O0 and -O3 against the reference interpreter."""
        self.call("llmopt-eval", "agree", folder, *(["--architectures", self.architectures] if options.get("data_file") else []))

    @staticmethod
    def save(folder, name, values):
        np.save(os.path.join(folder, name + ".npy"), np.array(values, dtype=np.int32))


def library_greedy(model, ids, encoder_ids):
    """Without a cache, so that nothing but the model itself is compared."""
    ids = list(ids)
    for _ in range(GREEDY):
        ids.append(int(library_output(model, ids, encoder_ids)[-1].argmax()))
    return ids[-GREEDY:]


def library_output(model, ids, encoder_ids):
    with torch.no_grad():
        if encoder_ids is not None:
            return model(input_ids=torch.tensor([encoder_ids]), decoder_input_ids=torch.tensor([ids])).logits[0].numpy()
        result = model(input_ids=torch.tensor([ids]))
        if hasattr(result, "last_hidden_state"):
            return result.last_hidden_state[0].numpy()
        if model.config.model_type in ("bert", "distilbert", "electra", "modernbert", "roberta"):
            return model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
        return result.logits[0].numpy()


def compare(what, got, want):
    difference = float(np.abs(got - want).max())
    if got.shape != want.shape or not difference <= TOLERANCE:
        raise AssertionError(f"{what}: shapes {got.shape} and {want.shape}, largest difference {difference:.3g}")
    return difference


def check(entry, runner, folder, seed):
    model = hf_models.write(entry, folder, seed)
    random = np.random.default_rng(seed)
    vocabulary = model.config.vocab_size
    ids, other = (random.integers(3, vocabulary, count).tolist() for count in (23, 9))
    if model.config.model_type in ("camembert", "mpnet", "roberta", "xlm-roberta"):
        ids[4] = ids[11] = other[2] = model.config.pad_token_id  # does not count as a position
    encoder_ids = random.integers(3, vocabulary, 17).tolist() if model.config.is_encoder_decoder else None
    want = library_output(model, ids, encoder_ids)
    is_encoder = entry["model"].__name__.endswith("Model") or "MaskedLM" in entry["model"].__name__
    greedy = 0 if is_encoder else GREEDY
    got, got_ids, warnings = runner.run(folder, entry["options"], [ids], encoder_ids, greedy=greedy)
    difference = compare("whole", got, want)
    # The compiled encoder-decoder answers from its start token on; the interpreter goes on from the decoder's ids.
    prompt = [model.config.decoder_start_token_id] if encoder_ids and not runner.chunks else ids
    if greedy and got_ids != library_greedy(model, prompt, encoder_ids):
        raise AssertionError(f"greedy ids {got_ids} differ from {library_greedy(model, prompt, encoder_ids)}")
    if encoder_ids is None:
        both = np.concatenate([want, library_output(model, other, None)])
        difference = max(difference, compare("two sequences", runner.run(folder, entry["options"], [ids, other])[0], both))
    if greedy and runner.chunks:
        difference = max(difference, compare("chunked", runner.run(folder, entry["options"], [ids], encoder_ids, chunk=5)[0], want))
    if not runner.chunks:
        runner.agree(folder, entry["options"])
    return difference, float(np.abs(want).max()), warnings.strip()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser()
    programs = parser.add_mutually_exclusive_group()
    programs.add_argument("--interpret", help="the program hf_interpret")
    programs.add_argument("--bin", default=os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin"),
                          help="folder with llmopt-compile, llmopt-eval and llmopt-run")
    parser.add_argument("--architectures", default=os.path.join(here, "..", "frontends", "hf_architectures"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", help="folder for the models; a temporary one by default")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    runner = Interpreter(arguments.interpret, arguments.architectures) if arguments.interpret else Compiled(arguments.bin, arguments.architectures)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        for entry in hf_models.CASES:
            if arguments.names and entry["name"] not in arguments.names:
                continue
            folder = os.path.join(arguments.keep or temporary, entry["name"])
            start = time.time()
            try:
                difference, size, warnings = check(entry, runner, folder, arguments.seed)
                print(f"PASS {entry['name']:28} largest difference {difference:.1e} of {size:.2f}, {time.time() - start:.1f} s {warnings}", flush=True)
            except AssertionError as error:
                failures += 1
                print(f"FAIL {entry['name']:28} {error}", flush=True)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
