"""Whether timm registers an encoder of a name, read from its source: importing timm takes seconds."""

import importlib.util
import re
from pathlib import Path
from typing import Final

__all__ = ["is_registered"]

_REGISTERED: Final = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


def is_registered(name: str) -> bool:
    """Return whether timm's modules register a model called `name`, with or without the tag of its weights.

    Names that timm makes while it is imported are not found, such as those that it keeps for old code: ask
    `quadrat.benchmark.learning.network.model.check_encoder` about a name that is not.

    >>> is_registered("tf_efficientnet_lite0.in1k"), is_registered("resnet5O")
    (True, False)
    """
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return False
    wanted = name.partition(".")[0]
    modules = (path for folder in found.submodule_search_locations for path in Path(folder, "models").glob("*.py"))
    return any(wanted in _REGISTERED.findall(text) for path in modules if wanted in (text := path.read_text("utf-8")))
