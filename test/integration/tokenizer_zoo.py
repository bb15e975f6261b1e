# Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small tokenizers of every kind, and random text to try them on."""
import io
import os
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]

RANGES = [(0x20, 0x7E), (0xA0, 0x17F), (0x180, 0x24F), (0x250, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x5FF),
          (0x600, 0x77F), (0x900, 0x97F), (0x980, 0xDFF), (0xE00, 0xEFF), (0xF00, 0x109F), (0x10A0, 0x11FF),
          (0x1200, 0x137F), (0x13A0, 0x18AF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x24FF), (0x2500, 0x2BFF),
          (0x2E80, 0x303F), (0x3040, 0x30FF), (0x3100, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7A3),
          (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF), (0x10000, 0x10FFF),
          (0x11000, 0x11FFF), (0x12000, 0x14FFF), (0x16000, 0x16FFF), (0x1B000, 0x1BCFF), (0x1D000, 0x1D7FF),
          (0x1E000, 0x1EFFF), (0x1F000, 0x1FBFF), (0x20000, 0x323AF), (0xE0000, 0xE01EF), (0x10FFFF, 0x10FFFF)]
SPACES = [" "] * 12 + ["  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u0085", "\u2028"]
WORDS = """the of and to in that I'm don't we've it's YOU'LL he'd They're 's 'S can't hello World tokenizer GPT-2 x86_64
antidisestablishmentarianism 2024 3.14159 1,000,000 007 ½ ②③ naïve café Ångström straße İstanbul ΣΊΣΥΦΟΣ ﬁnance ﬀ Ⅷ
привет мир शुभ नमस्ते สวัสดี 你好世界 東京タワー こんにちは 안녕하세요 مرحبا שלום ﷺ Việt Nam e\u0301le\u0300ve 각 ㍿ ｆｕｌｌ ✓ ™ 'ſ 'K
👍🏽 👩‍👩‍👧‍👦 🇩🇪🇫🇷 🏳️‍🌈 ❤️ 🦙 <s> </s> <unk> [CLS] [MASK] <|end|> <|endoftext|> <0x41> ▁ ▁the </w> ##ing <tag> <TAG> tag TAGS tags
def f(x): return x**2 ## // /* */ != == <= => {} [] "quoted" 'single' `code` $100 50% #tag @user a@b.co http://x.y/z?q=1
""".split()


def random_char(rng):
    low, high = rng.choice(RANGES) if rng.random() < 0.97 else (0, 0x10FFFF)
    c = rng.randint(low, high)
    return chr(c) if not 0xD800 <= c < 0xE000 else "\ufffd"


def random_text(rng):
    parts = []
    for _ in range(int(rng.expovariate(1 / 8)) + (rng.random() < 0.98)):
        kind = rng.random()
        if kind < 0.5:
            word = rng.choice(WORDS)
        elif kind < 0.6:
            word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(1, 12)))
            word = rng.choice([word, word.upper(), word.title()])
        elif kind < 0.68:
            word = str(rng.randrange(10 ** rng.randint(1, 9)))
        elif kind < 0.85:
            low, high = rng.choice(RANGES)
            word = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6)))
        elif kind < 0.9:
            word = rng.choice("eaoiunAEOkg각ក") + "".join(chr(rng.randint(0x300, 0x36F)) for _ in range(rng.randint(1, 4)))
        elif kind < 0.95:
            word = rng.choice(".,!?;:'\"()-_/") * rng.randint(1, 4)
        else:
            word = "".join(random_char(rng) for _ in range(rng.randint(1, 4)))
        parts.append(word)
        if rng.random() < 0.7:
            parts.append(rng.choice(SPACES))
    if rng.random() < 0.1:
        parts.insert(0, rng.choice(SPACES))
    if rng.random() < 0.02:
        parts.append(chr(rng.randrange(0x20)))
    return "".join(parts)


def corpus(count=1500):
    rng = random.Random(7)
    return [random_text(rng) for _ in range(count)]


def plain_corpus(count=1500):
    """Of few different characters, for trainers that want all of them in the vocabulary."""
    rng = random.Random(8)
    return [" ".join(rng.choice(WORDS) for _ in range(12)) for _ in range(count)]


def byte_alphabet():
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def characters():
    """A tokenizer whose ids spell the normalized text, byte by byte."""
    return Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(byte_alphabet())}, merges=[]))


def words():
    """A tokenizer whose ids spell the text and show where the words end."""
    pieces = byte_alphabet() + [c + "</w>" for c in byte_alphabet()]
    return Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(pieces)}, merges=[], end_of_word_suffix="</w>"))


def with_normalizer(normalizer):
    tokenizer = characters()
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def with_pre_tokenizer(pre_tokenizer):
    tokenizer = words()
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizer, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "<|end|>"])
    return tokenizer


def charsmap():
    """SentencePiece's own map, out of a model trained on anything."""
    import sentencepiece
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c d"] * 9), model_writer=out, vocab_size=9,
                                             hard_vocab_limit=False, minloglevel=3)
    processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    del processor
    return nested_field(nested_field(out.getvalue(), 3), 2)


def nested_field(message, wanted):
    """The bytes of a field of a protocol buffer."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(message):
        key = varint()
        if key & 7 == 2:
            length = varint()
            if key >> 3 == wanted:
                return message[at:at + length]
            at += length
        elif key & 7 == 0:
            varint()
        else:
            at += 8 if key & 7 == 1 else 4
    return b""


def normalizer_zoo():
    n = normalizers
    yield "nfc", n.NFC()
    yield "nfd", n.NFD()
    yield "nfkc", n.NFKC()
    yield "nfkd", n.NFKD()
    yield "lowercase", n.Lowercase()
    yield "strip", n.Strip()
    yield "strip-left", n.Strip(right=False)
    yield "strip-accents", n.StripAccents()
    yield "nfd-strip-accents-lower", n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()])
    yield "nmt", n.Nmt()
    yield "prepend", n.Prepend("▁")
    yield "replace", n.Sequence([n.Replace(" ", "▁"), n.Replace("the", ""), n.Replace(Regex(r"\s{2,}"), " ")])
    yield "replace-regex", n.Replace(Regex(r"(?<=\p{L})\d+|[aeiou]\b"), "#")
    yield "bert", n.BertNormalizer()
    yield "bert-cased", n.BertNormalizer(lowercase=False)
    yield "bert-accents", n.BertNormalizer(strip_accents=True, lowercase=False, handle_chinese_chars=False)
    yield "precompiled", n.Precompiled(charsmap())


def pre_tokenizer_zoo():
    p = pre_tokenizers
    yield "byte-level", p.ByteLevel(add_prefix_space=True)
    yield "whitespace", p.Whitespace()
    yield "whitespace-split", p.WhitespaceSplit()
    yield "bert", p.BertPreTokenizer()
    yield "punctuation", p.Punctuation()
    for behavior in BEHAVIORS:
        yield "punctuation-" + behavior, p.Punctuation(behavior)
        yield "split-" + behavior, p.Split(Regex(r"\s+|\d"), behavior)
        yield "split-inverted-" + behavior, p.Split(Regex(r"\w+"), behavior, invert=True)
        yield "split-text-" + behavior, p.Split("e", behavior)
    yield "digits", p.Digits(False)
    yield "digits-single", p.Digits(True)
    for scheme in ("always", "first", "never"):
        yield "metaspace-" + scheme, p.Metaspace(prepend_scheme=scheme)
        yield "metaspace-whole-" + scheme, p.Metaspace(prepend_scheme=scheme, split=False)
    yield "char-delimiter", p.CharDelimiterSplit("e")
    yield "scripts", p.UnicodeScripts()
    yield "fixed-length", p.FixedLength(3)
    for name, expression in (("gpt2", GPT2), ("llama3", LLAMA3), ("qwen2", QWEN2), ("o200k", O200K),
                             ("deepseek", DEEPSEEK), ("kimi", KIMI)):
        yield "split-" + name, p.Split(Regex(expression), "isolated")
    yield "split-deepseek-coder", p.Sequence([
        p.Split(Regex(r"[\r\n]"), "isolated"), p.Split(Regex(r"\s?\p{L}+"), "isolated"),
        p.Split(Regex(r"\s?\p{P}+"), "isolated"), p.Split(Regex(r"[一-龥ࠀ-一가-퟿]+"), "isolated"),
        p.Split(Regex(r"\s+$"), "isolated"), p.Digits(True)])
    yield "split-pcre", p.Split(Regex(r"\b\w+?\b|(?<!\d)[^\w\s]|(a|b)\1|(?i:the)\s*\S*?|\S+"), "isolated")
    yield "split-posix", p.Split(Regex(r"[[:alpha:]]+|[[:digit:]]|[[:punct:]]+|\h{2}"), "contiguous")


def add_tokens(tokenizer, spaces=True):
    tokenizer.add_special_tokens([AddedToken("<s>", special=True), AddedToken("<|end|>", rstrip=True, special=True),
                                  AddedToken("[MASK]", lstrip=True, special=True), AddedToken("<|endoftext|>", special=True)])
    tokenizer.add_tokens([AddedToken("tag", single_word=True), AddedToken("TAGS", normalized=True), "<|en",
                          AddedToken("the", normalized=False, single_word=True, lstrip=True, rstrip=True), "hello World"])
    if spaces:  # the library never ends where a normalizer leaves nothing of a token
        tokenizer.add_tokens(["   "])


def train_byte_level(pattern=None, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if pattern:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=1500, initial_alphabet=byte_alphabet(), show_progress=False))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_fallback():
    """As Llama 2: spaces become a mark, unknown characters bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=1200, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)],
                                  limit_alphabet=200, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def train_bpe(decoder, **model):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", **model))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    options = {k: v for k, v in model.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")}
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=1200, special_tokens=["<unk>"], limit_alphabet=150,
                                                                show_progress=False, **options))
    tokenizer.decoder = decoder
    return tokenizer


def train_word_piece(**model):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", **model))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=1500, special_tokens=specials, limit_alphabet=400, show_progress=False))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def train_unigram(**options):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.train_from_iterator(plain_corpus(), trainers.UnigramTrainer(vocab_size=1200, special_tokens=["<unk>", "<s>", "</s>"] + options.get("bytes", []),
                                                                    unk_token="<unk>", show_progress=False))
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    return tokenizer


def byte_unigram():
    """Unigram with byte fallback: the vocabulary of another, which `tokenizers` cannot train."""
    import json
    tokenizer = json.loads(train_unigram(bytes=[f"<0x{b:02X}>" for b in range(256)]).to_str())
    tokenizer["model"]["byte_fallback"] = True
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, tokenizer["decoder"]]}
    return Tokenizer.from_str(json.dumps(tokenizer))


def model_zoo():
    template = processors.TemplateProcessing(single="<s> $A <|endoftext|> <|endoftext|>", special_tokens=[("<s>", 0), ("<|endoftext|>", 1)])

    def dressed(tokenizer, processor=None):
        add_tokens(tokenizer)
        tokenizer.post_processor = processor or tokenizer.post_processor
        return tokenizer
    yield "bpe-byte-level", lambda: dressed(train_byte_level())
    yield "bpe-llama3", lambda: dressed(train_byte_level(LLAMA3, ignore_merges=True), processors.Sequence([processors.ByteLevel(), template]))
    yield "bpe-o200k", lambda: train_byte_level(O200K)
    yield "bpe-qwen-nfc", lambda: setattr(t := train_byte_level(QWEN2), "normalizer", normalizers.NFC()) or dressed(t)
    yield "bpe-fallback", lambda: dressed(train_fallback())
    yield "bpe-suffix", lambda: train_bpe(decoders.BPEDecoder(), end_of_word_suffix="</w>")
    yield "bpe-prefix", lambda: train_bpe(decoders.WordPiece(), continuing_subword_prefix="##", fuse_unk=True)
    yield "bpe-unknown", lambda: train_bpe(None, fuse_unk=False)
    yield "wordpiece", lambda: dressed(train_word_piece())
    yield "wordpiece-short", lambda: train_word_piece(max_input_chars_per_word=5)
    yield "unigram", lambda: dressed(train_unigram())
    yield "unigram-bytes", lambda: byte_unigram()
    yield "wordlevel", word_level


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=2000, special_tokens=["<unk>", "|", "<pad>"], show_progress=False))
    tokenizer.decoder = decoders.CTC(pad_token="<pad>", word_delimiter_token="|")
    add_tokens(tokenizer)
    return tokenizer


def added_zoo():
    """Added tokens with every flag, over normalizers that change them."""
    for name, normalizer in (("none", None), ("lower", normalizers.Lowercase()), ("strip-nfkc", normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])),
                             ("bytes", normalizers.ByteLevel()), ("prepend", normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]))):
        tokenizer = words()
        if normalizer:
            tokenizer.normalizer = normalizer
        if name != "bytes":
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"),
                                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tokenizer.decoder = decoders.ByteLevel()
        add_tokens(tokenizer, spaces="strip" not in name)
        yield "added-" + name, tokenizer


def everything():
    for name, normalizer in normalizer_zoo():
        yield "normalizer-" + name, lambda n=normalizer: with_normalizer(n)
    for name, pre_tokenizer in pre_tokenizer_zoo():
        yield "pre-" + name, lambda p=pre_tokenizer: with_pre_tokenizer(p)
    for name, tokenizer in added_zoo():
        yield name, lambda t=tokenizer: t
    for name, make in model_zoo():
        yield "model-" + name, make


def save_all(folder, only=""):
    for name, make in everything():
        if only in name:
            path = os.path.join(folder, name + ".json")
            make().save(path)
            yield name, path


def train_pieces(folder, only=""):
    """SentencePiece models."""
    import sentencepiece
    lines = [line.replace("\n", " ").replace("\0", "") for line in plain_corpus()]
    kinds = [("bpe-bytes", dict(model_type="bpe", byte_fallback=True)),
             ("bpe-identity", dict(model_type="bpe", normalization_rule_name="identity", remove_extra_whitespaces=False,
                                   user_defined_symbols=["<tag>", "hello", "▁▁"])),
             ("unigram", dict(model_type="unigram")),
             ("unigram-bytes", dict(model_type="unigram", byte_fallback=True, user_defined_symbols=["<tag>", "the"])),
             ("unigram-suffix", dict(model_type="unigram", treat_whitespace_as_suffix=True, add_dummy_prefix=False)),
             ("word", dict(model_type="word", vocab_size=1000)), ("char", dict(model_type="char"))]
    for name, options in kinds:
        if only not in "pieces-" + name:
            continue
        path = os.path.join(folder, name + ".model")
        with open(path, "wb") as file:
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=file, minloglevel=3,
                                                     **{"vocab_size": 3000, "hard_vocab_limit": False, "character_coverage": 0.98, **options})
        yield "pieces-" + name, path
