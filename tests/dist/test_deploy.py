"""The files in deploy/ for systemd, containers and Kubernetes: their form, and that `taskslot` takes their commands."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from harness.server import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
# systemd-analyze security: 0 is locked up, 10 is open.
MOST_EXPOSED = 2.5
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def manifests() -> dict[str, dict]:
    """The manifests for Kubernetes, by kind and name."""
    found = {}
    for file in (DEPLOY / "kubernetes").glob("*.yaml"):
        for one in yaml.safe_load_all(file.read_text()):
            found[f"{one['kind']} {one['metadata']['name']}"] = one
    return found


def composed() -> dict:
    """The services of the compose file."""
    return yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile and their words."""
    lines = (DEPLOY / "container/Containerfile").read_text().replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line and not line.startswith("#")]


def commands() -> dict[str, list[str]]:
    """The words after `taskslot` of every command in these files, by where they are."""
    found = {}
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.M)
        found[unit.name] = shlex.split(line)[1:]
    found |= {f"compose {name}": one["command"] for name, one in composed().items() if "command" in one}
    for name, words in instructions():
        if name == "CMD":
            found["Containerfile"] = yaml.safe_load(words)
        elif name == "HEALTHCHECK":
            found["HEALTHCHECK"] = yaml.safe_load(words.partition("CMD ")[2])[1:]
    for name, one in manifests().items():
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", []):
            found[f"{name} {container['name']}"] = container.get("args") or container["command"][1:]
            for kind in ("startupProbe", "readinessProbe"):
                if words := container.get(kind, {}).get("exec", {}).get("command"):
                    found[f"{name} {kind}"] = words[1:]
    return found


@pytest.mark.parametrize("where", sorted(commands()))
def test_the_command_line_takes_each_command(where):
    """Its name and its options exist, and the values have their form. Nothing is run."""
    from taskslot.cli.app import app

    name, *options = map(str, commands()[where])
    found = typer.main.get_command(app).commands[name]
    context = found.make_context(name, options)
    assert context.params


def test_every_kind_of_command_is_there():
    """So that the test above has something to look at."""
    words = {words[0] for words in commands().values()}
    assert words == {"serve", "worker", "web", "metrics", "doctor"}
    assert len(commands()) == 16


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_units_and_finds_them_locked_up(unit, tmp_path):
    """Programs, users and folders of other machines are replaced by some that are here."""
    here = {
        r"^ExecStart=\S+": f"ExecStart={sys.executable}",
        r"^User=.*": "User=daemon",
        r"^Group=.*": "Group=daemon",
        r"^WorkingDirectory=.*": "WorkingDirectory=/",
    }
    text = unit.read_text()
    for pattern, value in here.items():
        text = re.sub(pattern, value, text, flags=re.M)
    made = tmp_path / unit.name
    made.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", made], capture_output=True, text=True)
    # It also reports what is wrong with other units of this machine.
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, complaints) == (0, [])
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", made], capture_output=True, text=True
    )
    (level,) = re.findall(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert float(level) <= MOST_EXPOSED


def seconds(text: str) -> int:
    """A span such as `35s`, `2m` or `120`."""
    number, unit = re.fullmatch(r"(\d+)([sm]?)", str(text)).groups()
    return int(number) * (60 if unit == "m" else 1)


def test_workers_get_more_time_than_their_grace():
    """Otherwise tasks are cut off. After the grace, a process has 8 s until its parent kills it."""
    stops = {
        "taskslot-worker.service": re.findall(
            r"^TimeoutStopSec=(.*)$", (DEPLOY / "systemd/taskslot-worker.service").read_text(), re.M
        )[0],
        "compose worker": composed()["worker"]["stop_grace_period"],
        "Deployment shop-worker worker": manifests()["Deployment shop-worker"]["spec"]["template"]["spec"][
            "terminationGracePeriodSeconds"
        ],
    }
    for where, stop in stops.items():
        words = list(map(str, commands()[where]))
        grace_ms = int(words[words.index("--grace-ms") + 1])
        assert seconds(stop) * 1000 > grace_ms + 8000, where


def test_pods_of_workers_scale_by_their_own_places():
    """The threshold of the autoscaler is the number of places in a pod."""
    words = list(map(str, commands()["Deployment shop-worker worker"]))
    places = int(words[words.index("--concurrency") + 1]) * int(words[words.index("--processes") + 1])
    needed, backlog = manifests()["ScaledObject shop-worker"]["spec"]["triggers"]
    assert int(needed["metadata"]["threshold"]) == places
    assert "taskslot_queue_places_needed" in needed["metadata"]["query"]


def test_labels_select_what_they_should():
    """Services, budgets and policies find their pods; those that need the server have the label for it."""
    made = manifests()
    pods = {
        name: one["spec"]["template"]["metadata"]["labels"]
        for name, one in made.items()
        if "template" in one.get("spec", {})
    }
    for name, one in made.items():
        spec = one["spec"]
        if name.startswith("Service "):
            wanted = spec["selector"]
        elif name.startswith("PodDisruptionBudget"):
            wanted = spec["selector"]["matchLabels"]
        elif name.startswith("NetworkPolicy"):
            wanted = spec["podSelector"]["matchLabels"]
        else:
            continue
        assert any(wanted.items() <= labels.items() for labels in pods.values()), name
    clients = {name for name, labels in pods.items() if labels.get("taskslot-client") == "yes"}
    assert clients == {"Deployment shop-worker", "Deployment taskslot-page"}


def test_manifests_fit_the_schemas_of_kubernetes():
    """Those that are Kubernetes' own."""
    validate = pytest.importorskip("kubernetes_validate")
    for name, one in manifests().items():
        if name != "ScaledObject shop-worker":
            validate.validate(one, "1.32", strict=True)


def test_the_container_does_not_run_as_root_and_keeps_its_data():
    """The version of the packages is that of the repository."""
    found = dict(instructions())
    assert int(found["USER"]) > 0 and found["VOLUME"] == "/data" and found["ENTRYPOINT"] == '["taskslot"]'
    version = importlib.import_module("taskslot").__version__
    assert f'"taskslot[server,web,metrics]=={version}"' in found["RUN"]
    wheels = found["COPY"].split()[0]
    assert Path(wheels).parent == Path("target/dist")


def test_the_container_file_passes_the_linter():
    """hadolint, as `make test-all` installs it."""
    file = DEPLOY / "container/Containerfile"
    done = subprocess.run([installed("hadolint"), file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_fits_the_schema():
    """check-jsonschema has that of the compose specification."""
    file = DEPLOY / "compose/compose.yaml"
    program = [installed("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*program, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_prometheus_among_the_containers_is_set_up_as_the_sample():
    """Only the address of the metrics differs."""
    inside = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text())
    sample = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = sample["scrape_configs"]
    job["static_configs"] = [{"targets": ["metrics:9464"]}]
    assert inside == sample
    places = [volume.split(":")[0] for volume in composed()["prometheus"]["volumes"]]
    assert all((DEPLOY / "compose" / place).is_file() for place in places if place.startswith("."))


def installed(program: str) -> str:
    """A program of this environment. Skips the test if there is none."""
    here = Path(sys.executable).with_name(program)
    if not here.exists():
        pytest.skip(f"needs {program}: make test-all installs it")
    return str(here)


def test_no_file_has_a_password():
    """The sample of the environment is empty; everything else names a variable, a file or a secret."""
    sample = (DEPLOY / "compose/example.env").read_text()
    assert re.findall(r"^(\w+)=(.*)$", sample, re.M) == [
        ("TASKSLOT_PASSWORD", ""),
        ("TASKSLOT_WEB_PASSWORD", ""),
    ]
    for file in DEPLOY.rglob("*"):
        if file.is_file():
            urls = re.findall(r"redis://[^@\s]*:([^@\s]*)@", file.read_text())
            assert all(secret.startswith("$") for secret in urls), file
