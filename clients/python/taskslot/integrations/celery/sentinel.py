"""The transport with Sentinel: `taskslot-sentinel://host:26379;taskslot-sentinel://host2:26379`."""

from __future__ import annotations

from typing import Any

import redis
from kombu.transport import redis as kombu_redis
from kombu.utils.url import url_to_parts

from .transport import Channel, Transport


class SentinelChannel(Channel, kombu_redis.SentinelChannel):
    """A channel of `SentinelTransport`. It has the options of Kombu's transport with Sentinel too."""

    from_transport_options = tuple(
        dict.fromkeys((*Channel.from_transport_options, *kombu_redis.SentinelChannel.from_transport_options))
    )

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        """The pool of connections to the present primary.

        Kombu's own looks for URLs that begin with `sentinel:`, which would be those of its Redis transport.
        """
        if getattr(self, "master_name", None) is None:
            raise ValueError("'master_name' transport option must be specified.")
        parameters = self._connparams(asynchronous)
        first = parameters.pop("host", None), parameters.pop("port", None)
        default_port = self.connection.default_port
        urls = [url_to_parts(url) for url in self.connection.client.alt if "://" in url]
        hosts = [(url.hostname, url.port or default_port) for url in urls] or [first]
        sentinel: Any = redis.Sentinel(  # type: ignore[no-untyped-call]
            hosts,
            min_other_sentinels=getattr(self, "min_other_sentinels", 0),
            sentinel_kwargs=getattr(self, "sentinel_kwargs", None),
            **parameters,
        )
        if asynchronous:
            self._async_sentinel_manager = sentinel
        else:
            self._sentinel_manager = sentinel
        named = {name: parameters[name] for name in ("username", "password") if name in parameters}
        return sentinel.master_for(self.master_name, redis.Redis, **named).connection_pool


class SentinelTransport(Transport):
    """`taskslot-sentinel://host:26379`, with the transport option `master_name`."""

    default_port = 26379
    Channel = SentinelChannel
