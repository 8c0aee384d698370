"""Claims with their experiments, and comparisons with independent implementations.

Both raise when the evidence does not hold, display one line with an anchor, and put a
record into the cell's output. The site builds its ledger and its field guide from the
records alone.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from tfbook.book.display import inline_html, show, slug
from tfbook.book.source import api_link, public_name
from tfbook.checks import require, require_choice

__all__ = [
    "CLAIM_MIME",
    "COMPARED_MIME",
    "ClaimError",
    "ClaimRecord",
    "ComparedRecord",
    "claim",
    "compared",
]

CLAIM_MIME = "application/vnd.tfbook.claim+json"
COMPARED_MIME = "application/vnd.tfbook.compared+json"
VERDICTS = ("confirmed", "refined", "refuted", "open")
# Mark and colour; white text on each colour has a contrast of at least 4.5.
BADGES = {
    "confirmed": ("✓", "#00704f"),
    "refined": ("≈", "#00609a"),
    "refuted": ("✗", "#b04a00"),
    "open": ("?", "#8a4f76"),
}


class ClaimError(Exception):
    """An experiment does not show what its claim says, or a comparison fails."""


@dataclass(frozen=True)
class ClaimRecord:
    """What the ledger shows of one claim.

    Args:
        id: such as ``c171``.
        statement: what people say.
        verdict: confirmed, refined, refuted or open.
        finding: what is true instead, if anything is.
        holds: whether the experiment shows it; None for a claim about the literature.
        measured: the numbers, with their units; None for a claim about the literature.
        source: a key of the bibliography, or several between commas; None for a claim with an
            experiment.

    Example:
        >>> ClaimRecord("b000", "It is so", "confirmed", None, True, "1 of 1", None).verdict
        'confirmed'
    """

    id: str
    statement: str
    verdict: str
    finding: str | None
    holds: bool | None
    measured: str | None
    source: str | None


@dataclass(frozen=True)
class ComparedRecord:
    """What the field guide shows of one system.

    Args:
        system: its name in the literature.
        object: the public name of what implements it, or None.
        oracle: the independent implementation, or None.
        error: the largest absolute difference from it, or None.
        tolerance: the largest difference allowed, or None.
        verified: how it was verified without an independent implementation, or None.

    Example:
        >>> ComparedRecord("Heads", None, None, None, None, "by hand").verified
        'by hand'
    """

    system: str
    object: str | None
    oracle: str | None
    error: float | None
    tolerance: float | None
    verified: str | None


def claim(
    id: str,
    statement: str,
    *,
    verdict: str,
    finding: str | None = None,
    holds: object = None,  # a bool of Python, NumPy or PyTorch
    measured: str | None = None,
    source: str | None = None,
) -> None:
    """Put a common statement beside what its experiment shows, and raise if it does not.

    A statement about the literature has no experiment: it names its ``source`` instead of
    ``holds`` and ``measured``.

    Args:
        id: ``c171`` for a claim of the book's sources, ``b001`` for an experiment of our own.
        statement: what people say, in our words; text between backticks is set as code.
        verdict: confirmed, refined, refuted or open: what the experiment makes of it.
        finding: what is true instead; needed unless the verdict is "confirmed".
        holds: whether the experiment shows the finding (the statement, if confirmed).
        measured: the numbers, with their units.
        source: a key of ``book/references.bib``, or several between commas.

    Raises:
        ClaimError: ``holds`` is false.
        ValueError: an argument is missing, is not of the kind above, or does not fit another.

    Example:
        >>> claim("b000", "Two and two make four", verdict="confirmed",
        ...       holds=2 + 2 == 4, measured=f"{2 + 2}")
        b000 [confirmed] Two and two make four. Measured: 4
    """
    require(
        isinstance(id, str) and re.fullmatch(r"[bc]\d{3}", id) is not None,
        f"id={id!r} must be a letter and three digits; use c171, or b001 for an own experiment",
    )
    require_choice("verdict", verdict, VERDICTS)
    _require_text(id, "statement", statement)
    if verdict != "confirmed" or finding is not None:
        _require_text(id, "finding", finding)
    held = _evidence(id, holds, measured, source)
    record = ClaimRecord(id, statement, verdict, finding, held, measured, source)
    if held is False:
        raise ClaimError(
            f"{id} does not hold: {finding or statement} (measured: {measured}); "
            "look at the experiment, or change the finding to what it shows"
        )
    show(_claim_text(record), _claim_html(record), {CLAIM_MIME: asdict(record)})


def compared(
    system: str,
    obj: object,
    *,
    oracle: str | None = None,
    error: float | None = None,
    tolerance: float | None = None,
    verified: str | None = None,
) -> None:
    """Record what an object of the package was compared with, and raise if the two differ.

    Args:
        system: its name in the literature, as the field guide lists it.
        obj: the public object of ``tfbook`` that implements it; None for a demonstration that
            lives in its chapter alone (then ``verified`` says how it was checked).
        oracle: the independent implementation, with its version.
        error: the largest absolute difference, dimensionless.
        tolerance: the largest difference allowed.
        verified: how a system without an independent implementation was verified.

    Raises:
        ClaimError: ``error`` is above ``tolerance``, or is not a number.
        ValueError: neither an oracle with error and tolerance nor ``verified`` is given, or
            ``obj`` is not a public object of the package.

    Example:
        >>> from tfbook.shapes import split_heads
        >>> compared("Heads", split_heads, oracle="torch 2.13 view", error=0.0, tolerance=1e-12)
        Heads: tfbook.shapes.split_heads agrees with torch 2.13 view (error 0 ≤ 1e-12)
    """
    _require_text(str(system), "system", system)
    measured = (oracle, error, tolerance)
    require(
        all(part is not None for part in measured)
        or (verified is not None and all(part is None for part in measured)),
        f"system={system!r} needs oracle, error and tolerance together; "
        'without an independent implementation give verified="how" instead',
    )
    require(
        obj is not None or verified is not None,
        f'obj=None of {system!r} must be an object of tfbook; or say verified="how"',
    )
    name = None if obj is None else public_name(obj)
    if error is not None and tolerance is not None:
        error, tolerance = float(error), float(tolerance)
        if not error <= tolerance:  # written so that NaN fails too
            raise ClaimError(
                f"{system}: {name} differs from {oracle} by {error:.3g} > {tolerance:.3g}"
            )
    record = ComparedRecord(system, name, oracle, error, tolerance, verified)
    show(_compared_text(record), _compared_html(record), {COMPARED_MIME: asdict(record)})


def _require_text(id: str, name: str, value: object) -> None:
    require(
        isinstance(value, str) and value.strip() != "",
        f"{name}={value!r} of {id} must be a non-empty string; write one sentence",
    )


def _evidence(id: str, holds: object, measured: object, source: object) -> bool | None:
    """Check that a claim has either an experiment or a source, and return its outcome."""
    if source is not None:
        _require_text(id, "source", source)
        require(
            holds is None and measured is None,
            f"source={source!r} of {id} excludes holds and measured; "
            "a claim has an experiment or a source",
        )
        return None
    require(holds is not None, f"holds=None of {id} must be a bool; give an experiment or a source")
    _require_text(id, "measured", measured)
    return _as_bool(id, holds)


def _as_bool(id: str, holds: object) -> bool:
    """Accept Python's, NumPy's and PyTorch's booleans, and nothing that merely looks true."""
    kind = str(getattr(holds, "dtype", type(holds).__name__))
    single = getattr(holds, "shape", ()) in ((), (1,))
    require(
        kind in {"bool", "torch.bool"} and single,
        f"holds={holds!r} of {id} must be one bool; compare the measurement with a threshold",
    )
    return bool(holds)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _claim_text(record: ClaimRecord) -> str:
    parts = [f"{record.id} [{record.verdict}] {_sentence(record.statement)}"]
    if record.finding:
        parts.append(f"Finding: {_sentence(record.finding)}")
    parts.append(
        f"Measured: {record.measured}" if record.measured else f"Looked up in: {record.source}"
    )
    return " ".join(parts)


def _claim_html(record: ClaimRecord) -> str:
    mark, colour = BADGES[record.verdict]
    finding = (
        '<div class="tfbook-finding" style="margin-top:.25em">'
        f"<b>{inline_html(record.finding)}</b></div>"
        if record.finding
        else ""
    )
    label = "measured" if record.measured else "looked up"
    return (
        f'<div class="tfbook-claim tfbook-{record.verdict}" id="claim-{record.id}" '
        f'style="border-left:4px solid {colour};padding:.35em .9em;margin:.6em 0;line-height:1.5">'
        f'<span class="tfbook-badge" style="background:{colour};color:#fff;border-radius:1em;'
        'padding:.1em .7em;font-size:.8em;font-weight:600;white-space:nowrap;margin-right:.6em">'
        f'<span aria-hidden="true">{mark} </span>{record.verdict}</span>'
        f'<a class="tfbook-id" href="#claim-{record.id}" style="font-family:monospace;'
        f'font-size:.85em;margin-right:.6em">{record.id}</a>'
        f'<span class="tfbook-statement">{inline_html(record.statement)}</span>{finding}'
        f'<div class="tfbook-measured" style="font-size:.88em;margin-top:.25em">'
        f"<i>{label}</i> · {inline_html(record.measured or record.source or '')}</div></div>"
    )


def _compared_text(record: ComparedRecord) -> str:
    name = record.object or "this chapter"
    if record.oracle is None:
        return f"{record.system}: {name} verified by {record.verified}"
    return (
        f"{record.system}: {name} agrees with {record.oracle} "
        f"(error {record.error:.2g} ≤ {record.tolerance:.2g})"
    )


def _compared_html(record: ComparedRecord) -> str:
    where = api_link(record.object) if record.object else "this chapter"
    if record.oracle is None:
        how = f"verified by {inline_html(record.verified or '')}"
    else:
        how = (
            f"agrees with {inline_html(record.oracle)}: "
            f"error {record.error:.2g} ≤ {record.tolerance:.2g}"
        )
    return (
        f'<div class="tfbook-compared" id="system-{slug(record.system)}" '
        'style="border-left:4px solid #767f89;padding:.35em .9em;margin:.6em 0;line-height:1.5">'
        f'<b class="tfbook-system">{inline_html(record.system)}</b> · {where} {how}</div>'
    )
