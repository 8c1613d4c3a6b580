"""The web page for tests: the app of a test, and a browser without scripts that signs in and posts forms."""

from __future__ import annotations

import re
import warnings
from typing import Any
from urllib.parse import quote

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette would prefer another httpx
    from starlette.testclient import TestClient

from taskslot.web import create_app

from harness.server import PATIENCE_S

PASSWORD = "open sesame"
TOKEN = re.compile(r'(?:name="csrf" value="|"X-CSRF-Token": ")([^"]+)"')


class FormClient:
    """A browser without scripts: it keeps cookies, and sends the session's token with each form.

    `get` and `post` return httpx's responses. `post` doesn't follow the redirect of a change; `text` is what a page
    shows at the end.
    """

    def __init__(
        self, app: Any, root: str = "", headers: dict[str, str] | None = None, **options: Any
    ) -> None:
        self.app = app
        self.root = root
        sent = {"accept": "text/html", **(headers or {})}
        self.client = TestClient(app, headers=sent, follow_redirects=False, **options)
        self._token: str | None = None
        self._has_looked = False

    def get(self, path: str, **options: Any) -> Any:
        """Read a page. The first time, once the page has looked at the server, however busy this machine is."""
        if not self._has_looked and hasattr(self.app.state, "site"):
            self.app.state.site.sampler.snapshot(PATIENCE_S)
        self._has_looked = True
        return self.client.get(path, **options)

    def text(self, path: str) -> str:
        """The HTML of a page that must be there."""
        answer = self.get(path, follow_redirects=True)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text

    def post(self, path: str, fields: dict[str, str] | None = None, token: str | None = None) -> Any:
        """Post a form of the page: with the session's token, or the one given."""
        csrf = self.token() if token is None else token
        return self.client.post(path, data={"csrf": csrf, **(fields or {})})

    def token(self) -> str:
        """The session's token, as a page has it; a wrong one if no page has any."""
        for path in ("/", "/sign-in"):
            if self._token is None and (found := TOKEN.search(self.client.get(self.root + path).text)):
                self._token = found[1]
        return self._token or "none"

    def sign_in(self, password: str = PASSWORD, user: str = "ann") -> FormClient:
        """Sign in. The token of the session is a new one afterwards."""
        answer = self.post(f"{self.root}/sign-in", {"password": password, "user": user})
        assert answer.status_code == 303, answer.text
        self._token = None
        return self


def path_of(path: str, **query: str | bytes) -> str:
    """A path with a query, whose values may be any bytes: `path_of("/queue", key=b"a\\xff")`."""
    words = [f"{name}={quote(value, safe='')}" for name, value in query.items()]
    return path + ("?" + "&".join(words) if words else "")


__all__ = ["PASSWORD", "FormClient", "create_app", "path_of"]
