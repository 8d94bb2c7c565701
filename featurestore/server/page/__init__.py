"""The page for people at ``/``: each address one file, rendered here and complete without a script.

``rendering.py`` makes HTML of a template and says what a browser may do with it, ``visible_store.py`` what the caller may see.
An address is a file here and its line in ``PAGES``.
"""

from __future__ import annotations

from featurestore.server.page import (
    diff_page,
    entity_form,
    front_page,
    model_page,
    page_assets,
    resource_page,
    sign_in,
)
from featurestore.server.route import Route

PAGES: tuple[Route, ...] = (
    front_page.PAGE,
    *resource_page.PAGES,
    diff_page.PAGE,
    model_page.PAGE,
    *entity_form.PAGES,
    *sign_in.PAGES,
    *page_assets.PAGES,
)
