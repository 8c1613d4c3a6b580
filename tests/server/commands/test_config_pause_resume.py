"""TASK.CONFIG, TASK.PAUSE and TASK.RESUME."""

import pytest
from harness.talk import SYNTAX, Error

DAY = 86_400_000
SPAN_MAX = 100 * 365 * DAY
NUMBER_MAX = 2**53 - 1
PAUSED = Error("PAUSED the queue accepts no pushes")

SETTINGS = [  # name, smallest, largest, whether -1 is "no limit"
    ("lease", 1, DAY, False),
    ("attempts", 1, 65_535, True),
    ("stalls", 1, 65_535, True),
    ("backoff-base", 1, SPAN_MAX, False),
    ("backoff-max", 1, SPAN_MAX, False),
    ("backoff-jitter", 0, 100, False),
    ("max-len", 0, NUMBER_MAX, True),
    ("max-bytes", 0, NUMBER_MAX, True),
    ("dead-max", 0, NUMBER_MAX, True),
    ("dead-ttl", 0, SPAN_MAX, True),
    ("run-max", 1, 30 * DAY, True),
    ("concurrency", 0, NUMBER_MAX, True),
    ("rate", 0, 1_000_000, True),
    ("rate-per", 1, SPAN_MAX, False),
    ("group-concurrency", 0, NUMBER_MAX, True),
    ("group-rate", 0, 1_000_000, True),
    ("group-rate-per", 1, SPAN_MAX, False),
    ("groups-max", 0, 10_000_000, False),
]


# ---- CONFIG


@pytest.mark.parametrize("name, low, high, unlimited", SETTINGS)
def test_a_setting_is_accepted_within_its_bounds(c, name, low, high, unlimited):
    """Both bounds are accepted, and -1 if the setting can be unlimited. The error names setting and bounds."""
    for value in [low, high, *([-1] if unlimited else [])]:
        assert c("TASK.CONFIG", "q", "SET", name, value) == "OK"
        assert c.map("TASK.INFO", "q", "CONFIG")[name.encode()] == value
    more = ", or -1 for no limit" if unlimited else ""
    error = Error(f"ERR {name} must be an integer between {low} and {high}{more}")
    digest = c.digest()
    below = low - 1 if low - 1 != -1 or not unlimited else -2
    for value in (below, high + 1, -2, 2**64, "", "x", f"+{high}", f"0{high}", f" {high}", "1e2", "-0"):
        assert c("TASK.CONFIG", "q", "SET", name, value) == error, value
    assert c.digest() == digest


def test_the_backoff_is_a_word(c):
    """It is exponential, linear or fixed, in any case. A number is refused."""
    for word in (b"linear", b"fixed", b"exponential"):
        assert c("TASK.CONFIG", "q", "SET", "backoff", word.upper()) == "OK"
        assert c.map("TASK.INFO", "q", "CONFIG")[b"backoff"] == word
    for word in ("", "0", "1", "quadratic", "-1"):
        error = Error("ERR backoff must be one of exponential, linear, fixed")
        assert c("TASK.CONFIG", "q", "SET", "backoff", word) == error


def test_config_set_takes_many_settings_all_or_none(c):
    """Names can be in any case. One bad name or value refuses all of them."""
    assert c("TASK.CONFIG", "q", "set", "LEASE", 5, "Attempts", 6) == "OK"
    digest = c.digest()
    for bad in (["lease", 0], ["nothing", 1], ["stalls"], ["ATTEMPTS", 8], [""], ["retained", 5]):
        assert isinstance(c("TASK.CONFIG", "q", "SET", "attempts", 7, *bad), Error)
    assert c.digest() == digest
    settings = c.map("TASK.INFO", "q", "CONFIG")
    assert (settings[b"lease"], settings[b"attempts"]) == (5, 6)


def test_config_reset_puts_defaults_back(c):
    """It resets the settings that are named, or all of them."""
    assert c("TASK.CONFIG", "q", "SET", "lease", 5, "attempts", 6, "backoff", "fixed") == "OK"
    assert c("TASK.CONFIG", "q", "reset", "LEASE") == "OK"
    settings = c.map("TASK.INFO", "q", "CONFIG")
    assert (settings[b"lease"], settings[b"attempts"], settings[b"backoff"]) == (30_000, 6, b"fixed")
    assert c("TASK.CONFIG", "q", "RESET") == "OK"
    settings = c.map("TASK.INFO", "q", "CONFIG")
    assert (settings[b"attempts"], settings[b"backoff"]) == (25, b"exponential")


def test_config_without_a_known_action_and_setting_is_refused(c):
    """An action or a setting that is missing or unknown is an error, and so is a setting given twice."""
    for words in (["GET", "lease"], [""], ["SET"], ["SET", "lease"], ["RESET", "lease", "LEASE"]):
        assert c("TASK.CONFIG", "q", *words) == SYNTAX
    assert c("TASK.CONFIG", "q", "SET", "lease", 1, "lease", 2) == SYNTAX
    for words, name in (
        (["SET", "x", 1], "x"),
        (["SET", "", 1], ""),
        (["RESET", "x"], "x"),
        (["RESET", "lease", 5], "5"),
        (["SET", "rates", 1], "rates"),
    ):
        assert c("TASK.CONFIG", "q", *words) == Error(f"ERR unknown setting '{name}'")
    assert c("EXISTS", "q") == 0
    assert c("TASK.CONFIG", "q", "SET", "lease", 5) == "OK"
    assert c("EXISTS", "q") == 1, "CONFIG SET creates a queue"


# ---- PAUSE, RESUME


def test_a_paused_queue_refuses_pushes_or_claims(c):
    """OUT, the default, stops claims, IN stops pushes, ALL stops both. RESUME takes the same words."""
    directions = {"": (True, False), "OUT": (True, False), "in": (False, True), "ALL": (False, False)}
    for direction, (takes, gives) in directions.items():
        c("DEL", "q")
        c.push()
        assert c("TASK.PAUSE", "q", *direction.split()) == "OK"
        push = c("TASK.PUSH", "q", "p")
        assert isinstance(push, bytes) if takes else push == PAUSED
        push = c("TASK.MPUSH", "q", "TASKS", 1, "p")
        assert isinstance(push, list) if takes else push == PAUSED
        assert len(c("TASK.CLAIM", "q")) == gives
        assert c("TASK.RESUME", "q", *direction.split()) == "OK"
        assert isinstance(c("TASK.PUSH", "q", "p"), bytes)
        assert len(c("TASK.CLAIM", "q")) == 1


def test_resume_ends_only_the_pause_that_it_names(c):
    """If pushes and claims are both paused, the other one stays paused."""
    c.push()
    c("TASK.PAUSE", "q", "ALL")
    assert c("TASK.RESUME", "q") == "OK"
    assert len(c("TASK.CLAIM", "q")) == 1
    assert c("TASK.PUSH", "q", "p") == PAUSED
    assert c("TASK.RESUME", "q", "IN") == "OK"
    c.push()
    assert c("TASK.RESUME", "q", "ALL") == "OK"


def test_running_tasks_and_retries_go_on_while_a_queue_is_paused(server, c):
    """ACK, EXTEND, FAIL, REQUEUE and RETRY still work, and leases still end."""
    c("TASK.MPUSH", "q", "TASKS", 5, *"abcde")
    a, b, d, e = (task[0] for task in c("TASK.CLAIM", "q", "COUNT", 4))
    c.claim("q", "LEASE", 1)
    assert c("TASK.PAUSE", "q", "ALL") == "OK"
    assert c("TASK.EXTEND", "q", a) > 0 and c("TASK.ACK", "q", a) == 1
    assert c("TASK.FAIL", "q", b, "DELAY", 1) == 1 and c("TASK.REQUEUE", "q", d) == 1
    assert c("TASK.FAIL", "q", e, "DEAD") == -1 and c("TASK.RETRY", "q", "COUNT", 1) == 1
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 4, "the failed and the stalled task are back")


def test_a_pause_can_end_by_itself(server, c):
    """FOR is 1 ms to 100 years and can stand before or after the direction."""
    c.push()
    assert c("TASK.PAUSE", "q", "FOR", 1, "ALL") == "OK"
    server.wait_until(lambda: c("TASK.CLAIM", "q"), "the pause is over")
    c.push()
    assert c("TASK.PAUSE", "q", "OUT", "for", SPAN_MAX) == "OK"
    assert c("TASK.CLAIM", "q") == []
    for span in (0, -1, SPAN_MAX + 1, "x", ""):
        error = Error(f"ERR FOR must be an integer between 1 and {SPAN_MAX}")
        assert c("TASK.PAUSE", "q", "FOR", span) == error


def test_pause_and_resume_refuse_unknown_and_repeated_words(c):
    """Two directions are refused, since ALL is the word for both. RESUME does not have FOR."""
    for words in (["IN", "OUT"], ["ALL", "IN"], ["OUT", "OUT"], ["x"], ["FOR"], ["FOR", 1, "FOR", 1], [""]):
        assert c("TASK.PAUSE", "q", *words) == SYNTAX
        assert c("TASK.RESUME", "q", *words) == SYNTAX
    for words in (["FOR", 5], ["FOR", "x"], ["ALL", "FOR", 5]):
        assert c("TASK.RESUME", "q", *words) == SYNTAX
    assert c("EXISTS", "q") == 0


def test_pause_creates_a_queue_and_resume_does_not(c):
    """A queue can be paused before its first task."""
    assert c("TASK.RESUME", "q", "ALL") == "OK" and c("EXISTS", "q") == 0
    assert c("TASK.PAUSE", "q", "IN") == "OK" and c("EXISTS", "q") == 1
    assert c("TASK.PUSH", "q", "p") == PAUSED
