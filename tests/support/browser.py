"""A headless Chromium that tests drive: one for a module, a tab that is opened anew for each page."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

__all__ = ["BROWSER", "DRAWN", "Tab", "open_browser"]

BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser on the PATH, or None."""

_WAIT_S: Final = 40.0
DRAWN: Final = "document.documentElement && Number(document.documentElement.dataset.drawnMs || 0)"
"""When a page has drawn its charts, it notes the milliseconds that this took."""


class Tab:
    """A tab, driven by the DevTools protocol.

    Args:
        loop: The event loop of the connection.
        socket: Its connection.

    Attributes:
        messages: What the page has written to the console, or what the browser has, since `open`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop = loop
        self._socket = socket
        self._last = 0
        self.messages: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, page: Path, hash: str = "", *, width: int = 1366, height: int = 900, is_dark: bool = False) -> Self:
        """Open a page in a window of that size, and wait until it is drawn.

        Args:
            page: The HTML file.
            hash: What follows the # of its address.
            width: Of the window, CSS pixels.
            height: Of the window.
            is_dark: Whether the reader prefers a dark scheme.
        """
        self._call("Page.navigate", url="about:blank")  # another hash alone would not load the page again
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.messages.clear()
        self._call("Page.navigate", url=page.absolute().as_uri() + (f"#{hash}" if hash else ""))
        self.wait_for(DRAWN)
        return self

    def visit(self, address: str) -> Self:
        """Go to an address, and wait for nothing."""
        self.messages.clear()
        self._call("Page.navigate", url=address)
        return self

    def print(self) -> bytes:
        """Return the page as a PDF on the paper that its style asks for."""
        return base64.b64decode(self._call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def emulate_print(self, width: int) -> None:
        """Show the page as it is printed, in a column of that width; charts keep the size that they had in the window.

        Args:
            width: Between the margins, CSS pixels.
        """
        self._call("Emulation.setEmulatedMedia", media="print")
        self.evaluate(f"document.body.style.cssText = 'margin: 0; width: {width}px'")
        self.evaluate("window.dispatchEvent(new Event('beforeprint'))")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, JSON-plain; a promise is awaited."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        deadline_s = time.monotonic() + _WAIT_S
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline_s, expression
            time.sleep(0.05)
        return value

    def choose(self, selector: str, value: str) -> None:
        """Choose a value of a select, or type it into an input, as a reader does: with the events."""
        self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.value = {json.dumps(value)};"
            "for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind, { bubbles: true })); })()"
        )

    def click(self, selector: str) -> None:
        """Click an element."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str) -> None:
        """Press and release a key, such as Enter."""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._loop.run_until_complete(asyncio.wait_for(self._answer(method, params), _WAIT_S))

    async def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._last:
                assert "error" not in message, (method, message)
                return dict(message["result"])
            self._on_event(message)

    def _on_event(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled":
            self.messages.append(" ".join(str(one.get("value", one)) for one in params["args"]))
        elif message.get("method") == "Runtime.exceptionThrown":
            self.messages.append(str(params["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded":
            self.messages.append(params["entry"]["text"])


@contextmanager
def open_browser(folder: Path, browser: str | None = BROWSER) -> Iterator[Tab]:
    """Start a browser with its profile in `folder`, and end it."""
    assert browser is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    command = [browser, *options, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    session = None
    try:
        address = f"http://127.0.0.1:{_port(folder / 'DevToolsActivePort')}/json/list"
        session, socket = loop.run_until_complete(_connect(address))
        yield Tab(loop, socket)
    finally:
        if session is not None:
            loop.run_until_complete(session.close())
        loop.close()
        process.terminate()
        process.wait()


def _port(path: Path) -> int:
    deadline_s = time.monotonic() + _WAIT_S
    while not path.is_file() or not path.read_text(encoding="utf-8").strip():
        assert time.monotonic() < deadline_s, "the browser does not start"
        time.sleep(0.05)
    return int(path.read_text(encoding="utf-8").splitlines()[0])


async def _connect(address: str) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    async with session.get(address) as response:
        target = next(one for one in await response.json() if one["type"] == "page")
    return session, await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
