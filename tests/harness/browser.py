"""A real Chromium for tests and pictures of the page, driven by Playwright.

A `Tab` notes what no page may do: it opened a dialog, broke its content security policy, asked another host for
something, or wrote an error to the console. `Tab.check` fails if there was anything of that kind.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    sync_playwright,
)

CHROMIUM = shutil.which("chromium")
# No sandbox, because CI runs as root. The others keep it from asking for updates and the like.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--disable-sync",
]
# How long a test waits for what the page does. A machine that is busy with other tests can stand still for seconds.
PATIENCE_MS = 20_000
# Tells of each violation of the content security policy, before anything of the page runs.
TELL_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', event =>
  console.error('CSP: ' + event.violatedDirective + ' refused ' + event.blockedURI + ' ' + event.sample));
"""
# Sizes of a window: a desk and a phone.
WIDE, NARROW = (1280, 800), (360, 740)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium with a new profile. Only the thread that started it may use it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A window with cookies and a storage of its own. `page` is Playwright's page, `origin` all that it may ask.

    With `scripts=False` the browser runs no scripts.
    """

    def __init__(
        self,
        browser: Browser,
        origin: str,
        *,
        size: tuple[int, int] = WIDE,
        is_dark: bool = False,
        scripts: bool = True,
        headers: dict[str, str] | None = None,
        zoom: float = 1,
        zone: str = "UTC",
    ) -> None:
        self.origin = origin
        self.amiss: list[str] = []
        # What the console may say, as when the server is stopped on purpose.
        self.allows: Callable[[str], bool] = lambda text: False
        width, height = size
        self._context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if is_dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
            extra_http_headers=headers,
            device_scale_factor=zoom,
            locale="en-GB",
            timezone_id=zone,
        )
        self._context.set_default_timeout(PATIENCE_MS)
        self._context.add_init_script(TELL_VIOLATIONS)
        self._context.on("page", self._listen)
        self.page: Page = self._context.new_page()

    def _listen(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._note(f"console: {message.text} ({message.location.get('url', '')})")

    def _dialog(self, dialog: Dialog) -> None:
        # htmx asks with dialogs of its own, which a test has to expect.
        self._note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        host = urlsplit(request.url)
        if host.scheme not in ("data", "blob") and f"{host.scheme}://{host.netloc}" != self.origin:
            self._note(f"request to {request.url}")

    def _note(self, text: str) -> None:
        if not self.allows(text):
            self.amiss.append(text)

    def open(self, path: str = "/") -> Page:
        """Load a path of the origin, until its scripts have been read."""
        self.page.goto(f"{self.origin}{path}", wait_until="load")
        return self.page

    def check(self) -> None:
        """Fail if the page did something that no page may do."""
        assert not self.amiss, "\n".join(self.amiss)

    def close(self) -> None:
        """Close the window, and forget its cookies."""
        self._context.close()
