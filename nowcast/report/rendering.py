"""Pages from templates: every value is escaped, and a page may run only its own script."""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nowcast.report.svg import listed


def render(template: str, script: str, values: Mapping[str, Any]) -> str:
    """Return a template of this room filled with these values.

    Args:
        template: its name.
        script: the name of the page's script; its hash stands in the page's policy.
        values: by the names that the template uses.

    Raises:
        jinja2.UndefinedError: the template needs a value that is not given.
    """
    environment = Environment(
        loader=PackageLoader("nowcast.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(script).render()
    environment.globals["script_hash"] = base64.b64encode(
        hashlib.sha256(text.encode()).digest()
    ).decode()
    environment.filters.update(
        listed=listed, thousands="{:,}".format, short="{:g}".format, breakable=_breakable
    )
    return environment.get_template(template).render(values)


def _breakable(name: str) -> str:
    """Return a name that a narrow column may break: after underscores, slashes and dots of keys."""
    return re.sub(r"([_/]|\.(?=[A-Za-z]))", "\\1\u200b", name)
