"""The web page of the queues: `taskslot web`, or an ASGI app to mount in your own. It needs the extra `web`.

```python
from taskslot.web import Write, create_app

app = create_app("redis://127.0.0.1:6379", write=Write.by_header("X-Forwarded-User"))
```

`app` puts the parts together, `site` is what they share, `sampler` looks at the queues for all viewers, `pages` has a
module for each page and `actions` one for each kind of change.
"""

from ..integrations.packages import needs

with needs("starlette", "web"), needs("jinja2", "web"), needs("itsdangerous", "web"):
    from .app import create_app
    from .http.rights import Read, Write

__all__ = ["Read", "Write", "create_app"]
