#!/usr/bin/env python3
# Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes UnicodeTables.inc: which characters belong to which class.

    generate_tables.py > UnicodeTables.inc

The classes that tokenizers were trained with are those of the `tokenizers` library, whose parts carry tables of
different versions of Unicode. So the library (PyPI `tokenizers`) is asked about every character, and libutf8proc about
those whose normal forms it knows and the library does not.
"""
import ctypes
import ctypes.util
import sys

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
SCRIPTS = """Arabic Armenian Bengali Bopomofo Braille Cherokee Common Coptic Cyrillic Devanagari Ethiopic Georgian Greek
Gujarati Gurmukhi Han Hangul Hebrew Hiragana Inherited Kannada Katakana Khmer Lao Latin Malayalam Mongolian Myanmar
Oriya Sinhala Syriac Tamil Telugu Thaana Thai Tibetan Emoji Extended_Pictographic
Alphabetic Uppercase Lowercase""".split()


def removed_by(pre_tokenizer):
    """The characters that the pre-tokenizer removes from a text."""
    removed = set()
    for i in range(0, len(ALL), 4096):
        chunk = ALL[i:i + 4096]
        kept = set()
        for _, (begin, end) in pre_tokenizer.pre_tokenize_str("".join(map(chr, chunk))):
            kept.update(range(begin, end))
        removed.update(c for k, c in enumerate(chunk) if k not in kept)
    return removed


def matching(expression):
    return removed_by(pre_tokenizers.Split(Regex(expression), "removed"))


def joining(pre_tokenizer, neighbor):
    """The characters that stay in one word with `neighbor`."""
    whole = lambda words: len(words) == 1 and words[0][1] == (0, 2)
    return {c for c in ALL if whole(pre_tokenizer.pre_tokenize_str(chr(c) + neighbor))}


def changed_by(normalizer):
    return {c: new for c in ALL if (new := normalizer.normalize_str(chr(c))) != chr(c)}


def erased_by(normalizer):
    return {c for c, new in changed_by(normalizer).items() if new == ""}


def bert(**options):
    settings = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**settings, **options})


def toggles(members):
    """Where membership changes, from the first member on."""
    out, inside = [], False
    for c in range(0x110001):
        member = c in members if not 0xD800 <= c < 0xE000 else inside
        if member != inside:
            out.append(c)
            inside = member
    return out


def inert(marks):
    """Characters that libutf8proc decomposes or orders, and the library leaves alone."""
    lib = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
    lib.utf8proc_decompose_char.restype = ctypes.c_ssize_t
    lib.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_uint16)
    buffer, boundary = (ctypes.c_int32 * 32)(), ctypes.c_int()
    forms = [(1 << 1 | 1 << 4, changed_by(normalizers.NFD())), (1 << 1 | 1 << 4 | 1 << 2, changed_by(normalizers.NFKD()))]
    out = set()
    for c in ALL:
        order = lib.utf8proc_get_property(c)[1]
        if order and c not in marks:
            out.add(c)
        for options, changes in forms:
            n = lib.utf8proc_decompose_char(c, buffer, 32, options, ctypes.byref(boundary))
            if "".join(map(chr, buffer[:n])) != changes.get(c, chr(c)):
                out.add(c)
    return out


def lower_runs():
    """[first, last, step, distance] for runs of equal distance; single characters that become several apart."""
    runs, several = [], []
    for c, new in sorted(changed_by(normalizers.Lowercase()).items()):
        if len(new) > 1:
            several.append((c, new))
            continue
        distance, step = ord(new) - c, c - runs[-1][1] if runs else 0
        same = runs and runs[-1][3] == distance and step in (1, 2)
        if same and (runs[-1][2] == step or runs[-1][0] == runs[-1][1]):
            runs[-1][1], runs[-1][2] = c, step
        else:
            runs.append([c, c, 1, distance])
    return runs, several


def script_ranges():
    """[first, last, number]; 0 for characters that go with every script."""
    split = lambda text: len(pre_tokenizers.UnicodeScripts().pre_tokenize_str(text))
    known, ranges = [], []
    for c in ALL:
        char = chr(c)
        if split("a" + char + "a") == 1 and split("я" + char + "я") == 1:
            continue
        if ranges and split(known[ranges[-1][2] - 1] + char) == 1:
            number = ranges[-1][2]
        else:
            number = next((i + 1 for i, other in enumerate(known) if split(other + char) == 1), 0)
        if number == 0:
            known.append(char)
            number = len(known)
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == number:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, number])
    return ranges


def emit(name, kind, values):
    print(f"constexpr {kind} {name}[] = {{")
    line = ""
    for value in values:
        if len(line) + len(value) > 117:
            print("   " + line)
            line = ""
        line += f" {value},"
    print("   " + line + "\n};")


def emit_set(name, members, categories):
    """As a mask of general categories and the places where membership changes against it."""
    mask = 0
    for i, category in enumerate(CATEGORIES):
        own = categories[category]
        if own and len(own & members) * 2 > len(own):
            mask |= 1 << i
    base = {c for i, category in enumerate(CATEGORIES) if mask >> i & 1 for c in categories[category]}
    changes, plain = toggles(base ^ members), toggles(members)
    if len(plain) < len(changes):
        mask, changes = 0, plain
    emit(f"k{name}Changes", "uint32_t", [f"{c:#x}" for c in changes] or ["0x110000"])
    print(f"constexpr uint32_t k{name}Mask = {mask:#x};")


def main():
    print("// Written by generate_tables.py from PyPI tokenizers", tokenizers.__version__ + ". Do not edit.")
    categories = {name: matching(r"\p{%s}" % name) for name in CATEGORIES if name != "Cs"}
    categories["Cs"] = set()
    of = {c: i for i, name in enumerate(CATEGORIES) for c in categories[name]}
    runs = [c for i, c in enumerate(ALL) if i == 0 or of[c] != of[ALL[i - 1]]]
    print("\n// First character of each run << 5 | general category.")
    emit("kCategoryRuns", "uint32_t", [f"{c << 5 | of[c]:#x}" for c in runs])
    marks = erased_by(normalizers.StripAccents())
    sets = {
        "ExpressionWord": matching(r"\w"),
        "Word": joining(pre_tokenizers.Whitespace(), "a"),
        "Numeric": joining(pre_tokenizers.Digits(False), "1"),
        "Punctuation": removed_by(pre_tokenizers.Punctuation("removed")),
        "Control": erased_by(bert(clean_text=True)),
        "Nonspacing": erased_by(bert(strip_accents=True)),
        "Mark": marks,
        "Inert": inert(marks),
    }
    sets.update({"Script" + name: matching(r"\p{%s}" % name) for name in SCRIPTS})
    print("\n// Sets of characters: a mask of general categories, and where membership changes against it.")
    for name, members in sets.items():
        emit_set(name, members, categories)
    lower, several = lower_runs()
    print("\n// Lower case: first, last, step, distance.")
    emit("kLowerRuns", "LowerRun", [f"{{{a:#x}, {b:#x}, {s}, {d}}}" for a, b, s, d in lower])
    assert several == [(0x130, "i\u0307")], several
    print("\n// Scripts as UnicodeScripts tells them apart; characters in no range go with every script.")
    emit("kScriptRanges", "tokenizer::ScriptRange", [f"{{{a:#x}, {b:#x}, {n}}}" for a, b, n in script_ranges()])
    print("\n// Names in expressions.")
    emit("kNamedSets", "NamedSet", [f'{{"{n.lower().replace("_", "")}", kScript{n}Mask, kScript{n}Changes}}' for n in SCRIPTS])


if __name__ == "__main__":
    sys.exit(main())
