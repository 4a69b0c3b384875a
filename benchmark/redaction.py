"""What leaves the process (messages, command lines, published files) without passwords.

One function a kind of text; when in doubt they hide too much. Hidden are user and password of a URL, the values of its
query, headers of a request that log in, and whatever is assigned to a name that sounds secret (`NAME=VALUE`, or
`NAME: VALUE` as in JSON and YAML).
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["first_line", "has_secret", "redact", "redact_argv", "redact_url", "secret_in"]

HIDDEN: Final = "***"
_CLOSING: Final = "'\"`).,;:>]}"
"""What a sentence may put behind a URL."""
_SECRET: Final = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "dsn", "credential", "apikey", "api_key",
    "access_key", "private_key", "authorization", "signature",
)  # fmt: skip
"""Parts of the names of variables, options and parameters whose values are hidden."""
_QUOTED: Final = re.compile(r"""([\w.-]+)(=|[ \t]+=[ \t]+)('[^'\n]*'|"[^"\n]*"|(?<=[ \t])[^\s'"]+)""")
"""An assignment whose value may have spaces, or that has spaces around its sign, as in INI files."""
_OPTION: Final = re.compile(r"""(--[\w-]+)(['"]?,?[ \t]+)('[^'\n]*'|"[^"\n]*"|[^\s'"-][^\s'"]*)""")
"""An option and the next argument, as in the list of a command that an error quotes."""
_HEADER: Final = re.compile(
    r"""((?:proxy-)?authorization|(?:set-)?cookie)(['"]?[ \t]*:(?![ \t]*['"]?\*{3})[ \t]*['"]?)[^'"\n]+""",
    re.IGNORECASE,
)
"""A header of HTTP whose whole value is a secret; not one that is hidden already."""
_PAIR: Final = re.compile(r"""([\w.-]+)(['"]?[ \t]*:[ \t]*)("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[^\s,;}\])'"/]+)""")
"""A key and its value, as in JSON, in YAML and in a header."""
_SECRET_KEYS: Final = frozenset(
    {*_SECRET, "credentials", "secret_key", "secret_access_key", "auth_token", "access_token"}
)
"""Keys of a document whose text is a secret; `tokenizer` is none, nor is the number of `tokens`."""


def redact_url(url: str) -> str:
    """Return a URL without user and password, and with the values of its query and its fragment hidden.

    A slash, question mark or hash in a password ends the authority for `urllib`, which then takes the rest of the
    password for a path. So when an authority has a colon or an at sign, all up to the last at sign is taken for user
    and password; a path with an at sign may be hidden with them.

    Examples:
        >>> redact_url("postgresql://me:se/c@ret@host:5432/db?sslmode=require&password=secret")
        'postgresql://host:5432/db?sslmode=***&password=***'
        >>> redact_url("s3://bucket/a@b"), redact_url("sqlite:////tmp/a@b/mlflow.db")
        ('s3://bucket/a@b', 'sqlite:////tmp/a@b/mlflow.db')
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    end = min((place for mark in "/?#" if (place := rest.find(mark)) >= 0), default=len(rest))
    authority = rest[:end]
    if ":" in authority or "@" in authority:
        rest = rest.rpartition("@")[2]
    elif "://" in rest[end:]:  # another one behind it, without a space
        rest = rest[:end] + _redact_word(rest[end:])
    rest, has_fragment, _ = rest.partition("#")
    rest, has_query, query = rest.partition("?")
    if has_query:
        names = (part.partition("=")[0] for part in query.split("&"))
        rest += "?" + "&".join(f"{name}={HIDDEN}" for name in names)
    return f"{scheme}://{rest}" + (f"#{HIDDEN}" if has_fragment else "")


def redact(text: str) -> str:
    """Return a text, such as an error's, with the secrets hidden in the URLs and assignments that it quotes.

    Examples:
        >>> redact("no answer from 'http://me:secret@host:5000', dsn=host=db password='my secret'")
        "no answer from 'http://host:5000', dsn=*** password=***"
        >>> redact('sent {"password": "my secret"} with Authorization: Bearer secret')
        'sent {"password": ***} with Authorization: ***'
    """
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    for form in (_PAIR, _QUOTED, _OPTION):
        text = form.sub(_hide_value, text)
    return "".join(map(_redact_word, re.split(r"(\s+)", text)))


def _hide_value(found: re.Match[str]) -> str:
    """Return name, sign and value with the value hidden, where the name sounds secret and it is not hidden already."""
    name, sign, value = found.groups()
    return f"{name}{sign}{HIDDEN}" if _is_secret(name) and not value.startswith(HIDDEN) else found[0]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not empty, redacted, at most 300 characters of it."""
    line = next((line.strip() for line in redact(str(error)).splitlines() if line.strip()), "no reason is known")
    return line if len(line) <= 300 else line[:297] + "..."


def redact_argv(argv: Sequence[str]) -> list[str]:
    """Return the arguments of a command line with the secrets hidden, and with them every value of `--env`.

    Examples:
        >>> redact_argv(["run", "a.yaml", "--mlflow", "http://me:secret@host", "--env", "KEY=secret"])
        ['run', 'a.yaml', '--mlflow', 'http://host', '--env', 'KEY=***']
    """
    found = []
    for before, argument in itertools.pairwise(["", *argv]):
        option, value = ("", argument) if before == "--env" else (f"{before}=", argument)
        if argument.startswith("--env="):
            option, value = "--env=", argument.removeprefix("--env=")
        if option in ("", "--env="):
            found.append(f"{option}{value.partition('=')[0]}={HIDDEN}")
        elif before.startswith("-") and _is_secret(before):
            found.append(HIDDEN)
        else:
            found.append(redact(argument))
    return found


def has_secret(text: str) -> bool:
    """Return whether `redact` hides something in a text."""
    return redact(text) != text


def secret_in(value: Any) -> str | None:
    """Return where a document (of mappings, sequences and scalars) holds a secret, as dotted keys; None for nowhere.

    A secret is a URL with user or password, or a text under a key that says so. Unlike `redact`, which hides too much
    when in doubt, this is for refusals: the query of a URL is none.

    Examples:
        >>> secret_in({"params": [{"tokenizer": "a", "source": "see https://me:secret@host/a?b=c"}]})
        'params.0.source'
        >>> secret_in({"url": "https://host/a?b=c", "password": None}) is None
        True
    """
    if isinstance(value, str):
        words = (word.partition("?")[0] for word in value.split())
        return "" if any("://" in word and redact(word) != word for word in words) else None
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str) and inner and str(key).lower().replace("-", "_") in _SECRET_KEYS:
                return str(key)
    pairs: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if _is_list(value) else ()
    for key, inner in pairs:
        if (place := secret_in(inner)) is not None:
            return f"{key}.{place}".rstrip(".")
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, bytes)


def _redact_word(word: str) -> str:
    name, separator, value = word.partition("=")
    if value.rstrip(_CLOSING) == HIDDEN:
        return word
    start = word.find("://")
    if separator and _is_secret(word.rpartition("=")[0]) and not 0 <= start < len(name):
        return f"{name}={HIDDEN}"
    if start < 0:
        return word
    while start > 0 and (word[start - 1].isalnum() or word[start - 1] in "+-."):
        start -= 1
    return word[:start] + _redact_quoted(word[start:])


def _redact_quoted(url: str) -> str:
    """Return a URL redacted, and what a sentence puts behind it kept, if no secret can be in it."""
    bare = url.rstrip(_CLOSING)
    hidden = redact_url(bare)
    return url if hidden == bare else hidden + ("" if "=" in bare else url[len(bare) :])


def _is_secret(name: str) -> bool:
    name = name.lower().replace("-", "_")
    return any(part in name for part in _SECRET) or name.rpartition("_")[2] == "pass"
