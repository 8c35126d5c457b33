"""A checkpoint's own template for conversations: found beside its weights, rendered where it can do no harm."""

import contextlib
import json
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import getpid
from pathlib import Path
from typing import Any

from unmask.core.errors import UserError
from unmask.core.files import read_json

Message = Mapping[str, Any]  # {"role": "user", "content": "Why?"}, and whatever else a template may ask for
Conversation = Sequence[Message]

PROGRAM = Path(__file__).with_name("render_chat.py")
SECONDS = 5.0  # that one conversation may take; real templates take less than a thousandth
BYTES = 2**30  # that the program may hold, of which Python has a tenth

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# A template that looks into the parts of a turn: [{"type": "text", "text": "Why?"}].
PARTS = re.compile(r"""\[["']text["']\]|\.text\b""")
ASIDE = "or give the text as it is (template bare), or a text with {prompt} in it as the template"


@dataclass(frozen=True)
class ChatTemplate:
    """A template in jinja, the format transformers calls a chat template.

    source: as it stands in the folder. tokens: what it may call special tokens, as ("bos_token", "<s>").
    """

    source: str
    tokens: tuple[tuple[str, str], ...] = ()

    def render(self, conversation: Conversation, add_generation_prompt: bool = True) -> str:
        """The text of a conversation, up to where the assistant's next words begin.

        add_generation_prompt: False writes the turns alone; what the last one says is then left open, to be gone on
        with. The text is the one of transformers' `apply_chat_template`. The template, a stranger's program, runs in
        jinja2's sandbox, in a process of its own that has `SECONDS` and `BYTES`.
        Raises UserError saying what the template says is wrong, or that it took too long or too much.
        """
        messages: list[Message] = [
            {key: value for key, value in turn.items() if value is not None} for turn in conversation
        ]
        if PARTS.search(self.source) is None:
            messages = [joined(turn) for turn in messages]
        text = self._write(messages, add_generation_prompt)
        return text if add_generation_prompt else left_open(text, messages)

    def turn_end(self) -> str:
        """What it writes after the words of an assistant; nothing where it cannot be made to write them."""
        said = chr(0x10FFFD)  # no template has this sign
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
        try:
            _, found, after = self._write(turns, False).rpartition(said)
        except UserError:
            return ""
        return after if found else ""

    def _write(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """The text of the program."""
        context = {
            **dict(self.tokens),
            "messages": messages,
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            question = json.dumps(
                {"template": self.source, "context": context, "seconds": SECONDS + 1, "bytes": BYTES}
            )
        except TypeError as error:
            raise UserError(f"a conversation must be made of texts, lists and objects: {error}") from error
        reply = _renderer(getpid()).ask(question)
        if reply is None:
            raise UserError(
                f"the chat template took more than {SECONDS:g} seconds or {BYTES / 2**30:g} GiB and was stopped; copy "
                f"the right one, {ASIDE}"
            )
        if "error" in reply:
            raise UserError(f"the chat template cannot write this conversation: {reply['error']}; mend it, {ASIDE}")
        text: str = reply["text"]
        return text


def joined(turn: Message) -> Message:
    """A turn whose content is parts, all of them texts, with one text, a line each: what most templates can write.

    Raises UserError on a part of another kind, such as an image.
    """
    parts = turn.get("content")
    if not isinstance(parts, list):
        return turn
    for part in parts:
        if not isinstance(part, str) and not (isinstance(part, Mapping) and isinstance(part.get("text"), str)):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise UserError(f"a turn has a part of type {kind}, and this chat template writes texts only: leave it out")
    return {**turn, "content": "\n".join(part if isinstance(part, str) else part["text"] for part in parts)}


def left_open(text: str, messages: Sequence[Message]) -> str:
    """`text` up to the end of what its last turn says, so that a model goes on with it."""
    last = messages[-1].get("content") if messages else None
    if not isinstance(last, str) or last.strip() not in text:
        raise UserError("the last turn cannot be gone on with: the chat template does not write it as it is")
    start = text.rindex(last.strip())
    kept = last.lstrip() if text.startswith(last.lstrip(), start) else last.strip()  # some templates trim
    return text[: start + len(kept)]


def check_conversation(conversation: Conversation, whose: str) -> Conversation:
    """The conversation. Raises UserError naming the first turn that is none, `whose` being what holds it."""
    if not conversation:
        raise UserError(f'{whose} has no turn; give at least {{"role": "user", "content": "..."}}')
    for number, turn in enumerate(conversation, start=1):
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str) or "content" not in turn:
            raise UserError(
                f'turn {number} of {whose} must be an object {{"role": "user", "content": "..."}}, got {turn!r:.80}'
            )
        if not isinstance(turn["content"], str | list | type(None)):
            raise UserError(f"what turn {number} of {whose} says must be a text, got {turn['content']!r:.80}")
    return conversation


# ---- beside the weights


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """The chat template of a folder; None where it has none.

    Looked for in chat_template.jinja, chat_template.json and tokenizer_config.json, the first that has one; of several
    with names the one called `default`. Raises UserError naming the file that is damaged.
    """
    config = _object(folder / "tokenizer_config.json")
    path, found = folder / "chat_template.jinja", None
    if path.is_file():
        try:
            found = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); copy it again from where it came") from error
    for name in ("chat_template.json", "tokenizer_config.json"):
        if not found:
            path = folder / name
            found = default_of(_object(path).get("chat_template"), path)
    if not found:
        return None
    tokens = {**_object(folder / "special_tokens_map.json"), **config}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in tokens.items()}
    return ChatTemplate(found, tuple((name, text) for name in NAMED if isinstance(text := texts.get(name), str)))


def default_of(value: Any, path: Path) -> str | None:
    """The template that an entry `chat_template` holds: a text, or the default of several that have names."""
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        value = {entry.get("name"): entry.get("template") for entry in value}
    if isinstance(value, dict):
        several = list(value)
        value = value[several[0]] if len(several) == 1 else value.get("default")
        if several and value is None:
            raise UserError(f"{path} has the chat templates {', '.join(map(str, several))} and none called default")
    if value is not None and not isinstance(value, str):
        raise UserError(f"{path} is damaged: chat_template cannot be {value!r:.80}; copy it again from where it came")
    return value


def _object(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


# ---- the process


class _Renderer:
    """The program of `render_chat.py`, started when first asked and again after a template has killed it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None

    def ask(self, question: str) -> Any:
        """The answer; None if it did not come in time."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.process = self._start()
            process = self.process
            assert process.stdin is not None
            assert process.stdout is not None
            watch = threading.Timer(SECONDS, process.kill)
            watch.start()
            try:
                process.stdin.write(question + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = ""
            finally:
                watch.cancel()
            if not line.endswith("\n"):
                process.kill()
                process.wait()
                return None
            return json.loads(line)

    def _start(self) -> "subprocess.Popen[str]":
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM)],  # -P: its neighbours here are no modules of its
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
                start_new_session=True,  # Ctrl-C is for us
            )
        except OSError as error:
            raise UserError(f"no process can be started to render the chat template ({error}); {ASIDE[3:]}") from error
        weakref.finalize(self, _let_go, process)
        return process


def _let_go(process: "subprocess.Popen[str]") -> None:
    """It ends when nobody can ask any more. Not killed: a fork of ours may be the one that lets go."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)


@lru_cache(maxsize=1)
def _renderer(process: int) -> _Renderer:
    """One for each process: a fork must not talk into the pipe of another."""
    return _Renderer()
