"""The web page: what every page has, who may read and change, and what it says while the server is away."""


def test_the_queues_are_listed(web, queue):
    """Each is a link to its page."""
    queue.push(b"hello")
    assert '<a href="/queue?key=mail">mail</a>' in web().text("/")


def test_signed_in_one_may_change_things(web, queue):
    """The page then has the session's token, and no word of being read-only."""
    assert "read-only" in web().text("/")
    assert "read-only" not in web(write=True).text("/")
