"""HTML of a template. Whatever stands in it is escaped, and spelled out where it would control what shows it."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from featurestore.humanize import age, count, format_time, size
from featurestore.printable import printable
from featurestore.server.page.page_assets import address
from featurestore.server.route import HttpRequest, Reply
from featurestore.timestamps import SECOND_US, current_us

HTML = "text/html; charset=utf-8"
GUARDS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What a browser may do with the page: load our own style and script, send forms here, and nothing else."""
_PRIVATE = (b"cache-control", b"no-store")


def html_reply(
    request: HttpRequest,
    template: str,
    *,
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    **values: Any,
) -> Reply:
    """The page that the template makes of the values."""
    text = (
        _templates()
        .get_template(template)
        .render(
            store=request.backend.lookout.store,
            caller=request.caller.name if request.backend.authenticator.asks else "",
            now_us=current_us(),
            path=request.path,
            **values,
        )
    )
    # Half of a surrogate pair is no text that could be sent.
    return Reply(text.encode(errors="replace"), HTML, status, (*GUARDS, _PRIVATE, *headers))


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("featurestore.server.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"address": address, "count": count}
    made.filters |= {"ago": _ago, "size": size, "time": format_time, "number": _number, "code": _code}
    return made


def _shown(value: Any) -> Any:
    """What stands in the page for a value that a template names."""
    if value is None:
        return "–"
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _code(text: str) -> Markup:
    """Text with what stands between backticks as code.

    >>> _code("`<ls>` shows why")
    Markup('<code>&lt;ls&gt;</code> shows why')
    """
    parts = printable(text).split("`")
    if len(parts) % 2 == 0:
        return escape("`".join(parts))
    return Markup().join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def _ago(us: int | None, now_us: int) -> str:
    """How long ago that was."""
    return "–" if us is None else age((now_us - us) / SECOND_US)


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
