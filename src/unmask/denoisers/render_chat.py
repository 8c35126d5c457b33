"""Render chat templates: a small program of its own, so that a template may run away without harm to anybody.

Started by `chat.py`. Reads a question per line, a JSON object, and answers each by a line:

    {"template": "{{ bos_token }}...", "context": {"messages": [...], "bos_token": "<s>"}, "seconds": 5, "bytes": 1e9}
    {"text": "<s>..."}   or   {"error": "what was wrong, in a few words"}

What a template finds here is what transformers gives it (`apply_chat_template`): jinja2's immutable sandbox without
blank lines around blocks, loop controls, `tojson`, `raise_exception`, `strftime_now` and `{% generation %}`.
"""

import contextlib
import json
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import ext, nodes, parser, sandbox, utils


class Generation(ext.Extension):
    """`{% generation %}`, which marks what an assistant wrote: its content, as it is."""

    tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

    def parse(self, parser: parser.Parser) -> nodes.Node:
        """A block with a scope of its own."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class Namespace(utils.Namespace):
    """jinja2's own, without names that begin with a low line: those are Python's."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"{name} cannot be set")
        super().__setitem__(name, value)


def namespace(**values: Any) -> Namespace:
    """A namespace with these values."""
    made = Namespace()
    for name, value in values.items():
        made[name] = value
    return made


def mapping(*pairs: Any, **values: Any) -> dict[Any, Any]:
    """`dict`, as a function with no attributes to climb."""
    return dict(*pairs, **values)


def raise_exception(message: str) -> None:
    """What a template calls where it cannot write the conversation."""
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(form: str) -> str:
    """The date."""
    return datetime.now().strftime(form)


def tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
           sort_keys: bool = False) -> str:  # fmt: skip
    """JSON as a model was shown it, not as a web page needs it."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=8)
def compiled(source: str) -> jinja2.Template:
    """The template, ready to render."""
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
        "dict": mapping,
        "namespace": namespace,
    }
    return environment.from_string(source)


def answer(question: Mapping[str, Any]) -> dict[str, str]:
    """The text, or what was wrong."""
    try:
        text = compiled(question["template"]).render(question["context"])
    except MemoryError:
        return {"error": f"it takes more than {question['bytes'] / 2**20:.0f} MiB"}
    except Exception as error:  # whatever a stranger's program comes up with
        return {"error": " ".join(str(error).split())[:300] or type(error).__name__}
    return {"text": text}


def limit_memory(size: int) -> None:
    """From here on no more than `size` bytes, where the system can see to it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def limit_time(seconds: float) -> None:
    """To be ended after so long, by itself, for nobody else may be left to do it; 0 for no limit."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    """Answer until there are no more questions."""
    for line in sys.stdin:
        question = json.loads(line)
        limit_memory(int(question["bytes"]))
        limit_time(question["seconds"])
        print(json.dumps(answer(question)), flush=True)
        limit_time(0)


if __name__ == "__main__":
    main()
