"""Vega, Vega-Lite and Vega-Embed as one script for the page, bundled once and then kept in the user's cache."""

import functools
import hashlib
from importlib import metadata
from typing import Final

import altair as alt
import vl_convert
from markupsafe import Markup

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.benchmark.storage.user_cache import user_cache

__all__ = ["VEGA_LITE", "vega_script"]

VEGA_LITE: Final = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
"""The version of Vega-Lite that Altair writes for; vl-convert carries it."""

_SNIPPET: Final = "window.vegaEmbed = vegaEmbed;"


@functools.cache
def vega_script() -> Markup:
    """Return the script, which defines `vegaEmbed`.

    Bundling takes two seconds, and depends on vl-convert's version and the snippet alone: so it is done once for each.
    Where the cache can't be written, it is done once a process.
    """
    made_of = f"{metadata.version('vl-convert-python')}-{VEGA_LITE}-{hashlib.sha256(_SNIPPET.encode()).hexdigest()[:8]}"
    try:
        path = user_cache() / f"vega-{made_of}.js"
        if not path.is_file():
            atomic_write(path, _bundle().encode())
        return Markup(path.read_text(encoding="utf-8"))  # ours, no user text in it
    except ResultsError:  # no home folder, a full disk, a folder of others': the page doesn't need the cache
        return Markup(_bundle())


@functools.cache
def _bundle() -> str:
    return str(vl_convert.javascript_bundle(_SNIPPET, vl_version=VEGA_LITE))
