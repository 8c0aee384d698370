"""Two thousand lines on which tokenizers go wrong: scripts, emoji, code, numbers, controls.

Every line is a ``str`` without surrogates, so that every reference library takes it;
``SURROGATES`` and ``INVALID_UTF8`` hold what only some take.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

#: Fixed lines, each a known trap.
TRAPS: tuple[str, ...] = (
    "",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t\t a\t b",
    "a  b   c    d",
    "trailing spaces   ",
    "   leading",
    "line\n\n\n  break \n",
    "I'm he'll they've WE'D don't 's 'S 't it''s",
    "’s it’s l’été",
    "0 00 000 1234567890 3.14159 1,000,000 0x1F 1e-9",
    "x  12   345    ",
    "٣٤٥ ४५६ Ⅷ ½ ² 一二三",
    "Ünïcödé naïve café cafe\u0301 Å A\u030a Å",
    "e\u0301\u0302\u0303 \u0301alone Z͑ͫ̓ͪ̂ͫ̽a͙̤l̟g̯o",
    "ﬁ ﬂ ﬀ ﬃ № ™ ℌ ｆｕｌｌ　ｗｉｄｔｈ ㍿ ㈱",
    "İstanbul ıI ẞß ŉ ǅ ΐ ᾳ",
    "中文字符 没有空格 混合English和中文123",
    "日本語のテキスト カタカナ ひらがな",
    "한국어 텍스트 \u1112\u1161\u11ab",
    "العربية مَرْحَبًا ١٢٣ لا",
    "עברית שָׁלוֹם",
    "हिन्दी क्षत्रिय தமிழ் ไทยไม่มีช่องว่าง",
    "Ελληνικά Русский язык Ёлка йод",
    "🙂😀👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 1️⃣ ❤️ ☃",
    "\U0001f9d1\u200d\U0001f4bb\U0001f9d1\u200d\U0001f4bb",
    "zero\u200bwidth\u200djoin\u2060er\ufeffmark soft\u00adhyphen",
    "nbsp\u00a0here \u2003em \u3000ideographic \u2028line\u2029para \u0085nel",
    "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x1b[0m\x1c\x1d\x1e\x1f\x7f\x80\x9f",
    "\ufffd \ufffe \uffff \ue000 \U0010ffff \U000e0001 \u0378",
    "def f(x: int) -> int:\n    return x ** 2  # square\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * c[i]; }",
    "SELECT * FROM t WHERE a = 'x''y' AND b <> \"z\";",
    '<html><body class="a-b">&amp;&#8217;</body></html>',
    "https://example.org/a/b?c=d&e=%20f#g user@example.org C:\\path\\file.txt",
    "\\frac{1}{2} $x_i^2$ ~!@#$%^&*()_+`-={}|[]:;<>?,./",
    "<|endoftext|> <|im_start|>user\nhi<|im_end|> [CLS] [MASK] [UNK] <s> </s> <pad>",
    "<|endoftext|><|endoftext|>x<|endoftext",
    "##word ▁word Ġword Ċ _word",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ababababababababababababab abcabcabcabcabcabcabc",
    "!!!!!!!!!!!!????????........--------________========",
    "Pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism",
    "ACGTACGTTAGCNNNNacgt MKVLAAGIVGLCAKAYLERNA",
)

#: Strings that UTF-8 cannot hold, and what they are read as.
SURROGATES: tuple[tuple[str, str], ...] = (
    ("a\ud800b", "a\ufffdb"),
    ("\udc00", "\ufffd"),
    ("\ud83d\ude00!", "😀!"),
    ("\ude00\ud83d x\ud83d\ude00\ud83d", "\ufffd\ufffd x😀\ufffd"),
    ("\udcff from a file name", "\ufffd from a file name"),
)

#: Bytes that are no UTF-8: stray, cut off, too long, too high, surrogates.
INVALID_UTF8: tuple[bytes, ...] = (
    b"\xff\xfe plain \xc0\x80",
    b"caf\xe9 latin-1",
    "cut 🙂".encode()[:-1],
    b"\xed\xa0\x80 \xf5\x80\x80\x80 \x80\x80",
    "中文".encode()[1:] + b"\xf0\x9f",
)

_PROSE = (
    "the of and God LORD spake unto tokenization Transformer's pre-trained un·usual "
    "naïve Zoë Größe œuvre São coöperate McDonald’s e.g. U.S.A. GPT-4 x86_64"
)
_WORDS = _PROSE.split()
# Without what Unicode 15 and later added: the libraries know different versions.
_RANGES: tuple[tuple[int, int], ...] = (
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x300, 0x36F),
    (0x370, 0x52F),
    (0x590, 0x6FF),
    (0x900, 0x97F),
    (0xE00, 0xE5B),
    (0x1100, 0x11FF),
    (0x1E00, 0x1FFF),
    (0x2000, 0x206F),
    (0x2070, 0x208E),
    (0x2090, 0x209C),
    (0x20A0, 0x2BFF),
    (0x3000, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xFE00, 0xFFEF),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x2A6DF),
)
_CONTROLS = [chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0xAD, 0x200B, 0xFEFF)]
_SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", " \n ", "\u2009"]


def awkward_lines(n: int = 2000, *, seed: int = 0) -> list[str]:
    """The traps, and then lines that are drawn.

    Args:
        n: how many lines.
        seed: of the draws.

    Returns:
        The lines.
    """
    draw = random.Random(seed)
    kinds: Sequence[Callable[[random.Random], str]] = (
        _prose,
        _one_script,
        _mixed,
        _numbers,
        _code,
        _emoji,
        _combining,
        _controls,
    )
    lines = list(TRAPS)
    while len(lines) < n:
        lines.append(kinds[len(lines) % len(kinds)](draw))
    return lines[:n]


def _prose(draw: random.Random) -> str:
    words = draw.choices(_WORDS, k=draw.randint(1, 15))
    return "".join(word + draw.choice([" ", " ", ", ", ". ", *_SPACES]) for word in words)


def _one_script(draw: random.Random) -> str:
    low, high = draw.choice(_RANGES)
    words = ["".join(_letter(draw, low, high) for _ in range(draw.randint(1, 8))) for _ in range(6)]
    return " ".join(words)


def _mixed(draw: random.Random) -> str:
    parts = [_letter(draw, *draw.choice(_RANGES)) for _ in range(draw.randint(1, 40))]
    return "".join(part + draw.choice(["", "", "", draw.choice(_SPACES)]) for part in parts)


def _numbers(draw: random.Random) -> str:
    forms = ("{}", "{:,}", "{:.3f}", "{:x}", "{:e}", "-{}", "{}%", "${}", "{}th", "0{}")
    values = [draw.choice(forms).format(draw.randint(0, 10**9)) for _ in range(draw.randint(1, 9))]
    return "".join(value + draw.choice(["", *_SPACES]) for value in values)


def _code(draw: random.Random) -> str:
    names = [
        draw.choice(["x", "self", "camelCase", "snake_case_2", "__init__", "π"]) for _ in "abcd"
    ]
    signs = [
        draw.choice([" = ", "->", "==", "(", ")", "[i]", "::", " // ", "{\n\t", ";\n", "'''"])
        for _ in names
    ]
    indent = draw.choice(["", "  ", "    ", "\t", "        "])
    return indent + "".join(name + sign for name, sign in zip(names, signs, strict=True))


def _emoji(draw: random.Random) -> str:
    def one() -> str:
        base = chr(draw.randint(0x1F600, 0x1F64F))
        tail = draw.choice(
            ["", "\ufe0f", chr(draw.randint(0x1F3FB, 0x1F3FF)), "\u200d👩", "\u20e3"]
        )
        return base + tail

    return draw.choice(["", " ", "ok "]).join(one() for _ in range(draw.randint(1, 12)))


def _combining(draw: random.Random) -> str:
    letters = [draw.choice("aeiounAEIOUN ßçÅ中") for _ in range(draw.randint(1, 25))]
    return "".join(
        letter
        + "".join(chr(draw.randint(0x300, 0x36F)) for _ in range(draw.choice([0, 0, 1, 1, 3])))
        for letter in letters
    )


def _controls(draw: random.Random) -> str:
    return "".join(
        draw.choice(_WORDS)[: draw.randint(1, 5)] + draw.choice(_CONTROLS)
        for _ in range(draw.randint(1, 20))
    )


def _letter(draw: random.Random, low: int, high: int) -> str:
    return chr(draw.randint(low, high))
