"""Dockerfile, compose, Kubernetes and systemd against the code: commands, options, variables, ports and paths exist.

No container engine runs here; the schemas are checked by `make manifests`, and with the client where it is installed.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry
from pydantic_settings import BaseSettings

from deploy.kubernetes import rules
from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
from stream_detector.settings import Settings
from stream_detector.streaming.worker.health.metrics_server import MetricsServer
from tests.support.paths import ROOT
from tests.support.stack.certificates import Authority

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("stream-detector"))
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = [KUBERNETES, *sorted((KUBERNETES / "overlays").iterdir())]


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from (document for document in yaml.safe_load_all(path.read_text()) if document)


def built(overlay: Path) -> list[dict[str, Any]]:
    """What kustomize makes of it."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on PATH; `make manifests` fetches one")
    done = subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The templates of pods: labels, containers, volumes."""
    return [one["spec"]["template"] for one in documents if one["kind"] in ("StatefulSet", "Deployment")]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests() if manifest["kind"] == kind]


def known_variables() -> set[str]:
    def names(settings: type[BaseSettings]) -> set[str]:
        return {f"{settings.model_config['env_prefix']}{name.upper()}" for name in settings.model_fields}

    return names(Settings) | names(ForwarderSettings)


class Call(NamedTuple):
    where: str
    program: str
    arguments: list[str]


def calls() -> Iterator[Call]:
    """Every call of our programs that a manifest makes."""
    for name in OURS:
        service = SERVICES[name]
        default = "trainer" if service["build"]["target"] == "trainer" else "stream-detector"
        program, arguments = service.get("entrypoint", [default])[0], service["command"]
        if program == "/bin/sh":
            program, *arguments = shlex.split(arguments[0].partition(" exec ")[2])
        yield Call(f"compose {name}", program, arguments)
    for manifest in [*of_kind("StatefulSet"), *of_kind("Deployment")]:
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            yield Call(f"kubernetes {manifest['metadata']['name']}", "stream-detector", container["args"])
    for unit in UNITS:
        line = shlex.split(value_of(unit, "ExecStart"))
        yield Call(unit.name, Path(line[0]).name, line[1:])


def value_of(unit: Path, key: str) -> str:
    found = re.search(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)
    assert found, f"{unit.name} has no {key}"
    return found[1]


def parser_of(program: str, command: str) -> Any:
    import importlib

    package = {"stream-detector": "stream_detector", "trainer": "trainer"}[program]
    module = importlib.import_module(f"{package}.commands.{command.replace('-', '_')}")
    app = typer.Typer(add_completion=False)
    app.command()(module.command)
    return typer.main.get_command(app)


def test_only_the_trainers_image_is_asked_for_what_the_base_installation_leaves_out() -> None:
    targets = {name: SERVICES[name]["build"]["target"] for name in OURS}
    assert set(re.findall(r"^FROM \S+ AS (worker|trainer)$", DOCKERFILE, re.MULTILINE)) == set(targets.values())
    for name in (name for name, target in targets.items() if target == "worker"):
        words = [str(word) for word in SERVICES[name]["command"]]
        assert "trainer" not in " ".join(words), name
        assert [word for word in words if word.endswith((".parquet", ".xlsx"))] == [], name


@pytest.mark.parametrize("call", list(calls()), ids=lambda call: call.where)
def test_every_command_and_option_exists(call: Call) -> None:
    command, *arguments = call.arguments
    # Raises where an option is unknown, misses its value, or a required one is not given.
    assert parser_of(call.program, command).make_context(command, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_without_a_bundle_compose_ends_in_a_sentence_and_starts_no_detector(tmp_path: Path) -> None:
    needed = [name for name, how in SERVICES["detector"]["depends_on"].items() if how.get("required", True)]
    [check] = [name for name in needed if SERVICES[name].get("command", [""])[0] == "check-bundle"]
    assert SERVICES["detector"]["depends_on"][check]["condition"] == "service_completed_successfully"
    assert SERVICES[check]["restart"] == "no"
    assert SERVICES[check]["volumes"] == SERVICES["detector"]["volumes"]
    [command, checked] = SERVICES[check]["command"]
    assert checked == SERVICES["detector"]["command"][-1]
    done = subprocess.run(
        [sys.executable, "-m", "stream_detector", command, str(tmp_path / Path(checked).name)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_command_or_an_option_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        parser_of("stream-detector", "no-such-command")
    with pytest.raises(Exception, match="no-such-option"):
        parser_of("stream-detector", "forward").make_context("forward", ["--no-such-option", "1"])


def variables() -> Iterator[tuple[str, str]]:
    for name in OURS:
        yield from ((f"compose {name}", variable) for variable in SERVICES[name].get("environment", {}))
    for manifest in of_kind("ConfigMap"):
        yield from ((f"kubernetes {manifest['metadata']['name']}", variable) for variable in manifest["data"])
    for manifest in [*of_kind("StatefulSet"), *of_kind("Deployment")]:
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            yield from ((f"kubernetes {container['name']}", one["name"]) for one in container.get("env", []))
    texts = [*UNITS, *sorted((DEPLOY / "systemd").glob("*.example")), DEPLOY / "docker" / "Dockerfile"]
    for path in texts:
        yield from ((path.name, variable) for variable in re.findall(r"\b(STREAM_DETECTOR_\w+)=", path.read_text()))


def test_every_variable_is_a_setting() -> None:
    found = list(variables())
    assert len(found) > 15
    ours = [(where, name) for where, name in found if name.startswith("STREAM_DETECTOR_")]
    assert [(where, name) for where, name in ours if name not in known_variables()] == []
    others = {name for _, name in found if not name.startswith("STREAM_DETECTOR_")}
    assert others <= {"HEALTHCHECK_PORT", "OMP_NUM_THREADS"}


def settings_of(variables_given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, ForwarderSettings]:
    for name, value in variables_given.items():
        # Compose fills in `${NAME:-default}` before a container sees it.
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)))
    return Settings.load(), ForwarderSettings.load()


@pytest.mark.parametrize("name", [name for name in OURS if "environment" in SERVICES[name]])
def test_the_values_that_compose_sets_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = settings_of(SERVICES[name]["environment"], monkeypatch)
    host, port = settings.bootstrap.split(":")
    assert host == "kafka"
    assert f"INSIDE://:{port}" in SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"]


@pytest.mark.parametrize("name", ["stream-detector", "stream-detector-forwarder"])
def test_the_values_that_kubernetes_sets_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [data] = [manifest["data"] for manifest in of_kind("ConfigMap") if manifest["metadata"]["name"] == name]
    settings_of(data, monkeypatch)


DETECTOR_PORT = Settings.model_fields["metrics_port"].default
FORWARDER_PORT = ForwarderSettings.model_fields["metrics_port"].default


def test_ports_are_the_same_everywhere() -> None:
    scraped = {
        job["job_name"]: job["dns_sd_configs"][0]["port"]
        for job in yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    }
    bridge = SERVICES["mqtt-bridge"]
    bridge_port = int(bridge["environment"]["HEALTHCHECK_PORT"])
    assert bridge["command"][bridge["command"].index("--metrics-port") + 1] == str(bridge_port)
    assert scraped == {
        "stream-detector": DETECTOR_PORT,
        "stream-detector-forwarder": FORWARDER_PORT,
        "stream-detector-bridge": bridge_port,
    }
    assert SERVICES["detector"]["ports"] == [f"127.0.0.1:{DETECTOR_PORT}:{DETECTOR_PORT}"]
    assert SERVICES["forwarder"]["environment"]["HEALTHCHECK_PORT"] == str(FORWARDER_PORT)
    assert re.search(rf"^EXPOSE {DETECTOR_PORT} {FORWARDER_PORT}$", DOCKERFILE, re.MULTILINE)
    [detector] = of_kind("StatefulSet")[0]["spec"]["template"]["spec"]["containers"]
    [forwarder] = of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert detector["ports"][0]["containerPort"] == DETECTOR_PORT
    assert forwarder["ports"][0]["containerPort"] == FORWARDER_PORT


def test_compose_publishes_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) >= 4
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_what_compose_mounts_from_here_exists() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, target = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[:2]
            if source.startswith("./deploy"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            elif not source.startswith("./"):
                assert source in COMPOSE["volumes"], f"{name}: {source}"
            assert target.startswith("/")


def test_grafana_finds_its_dashboards_where_they_are_mounted() -> None:
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/stream-detector.yml").read_text())
    mounted = {volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    assert {one["options"]["path"] for one in provider["providers"]} <= mounted
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DEPLOY / "grafana" / "dashboards" / Path(home).name).exists()
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_addresses_in_compose_name_services_that_exist() -> None:
    texts = [
        yaml.safe_dump(SERVICES),
        (DEPLOY / "prometheus" / "prometheus.yml").read_text(),
        (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(),
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text(),
    ]
    hosts = {host for text in texts for host in re.findall(r"https?://([a-z-]+):\d+", text)}
    hosts |= {host for text in texts for host in re.findall(r"names: \[(\w+)\]", text)}
    assert hosts - {"localhost"} <= set(SERVICES)
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", [])) <= set(SERVICES), name


def test_our_containers_cannot_write_their_image_or_gain_rights() -> None:
    for name in [*OURS, "notifications"]:
        service = SERVICES[name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    for manifest in [*of_kind("StatefulSet"), *of_kind("Deployment")]:
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_image_is_built_from_files_that_exist_and_are_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text()
    copied = " ".join(re.findall(r"^COPY (?:--\S+ )?(.*) \S+$", DOCKERFILE, re.MULTILINE)).split()
    assert copied
    # What a wheel is built from lies in the folder that the build mounts.
    for source in [*copied, "pyproject.toml", "README.md", "LICENSE", "stream_detector", "trainer"]:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, f"{source} is ignored"


@pytest.mark.slow
def test_the_health_check_tells_a_healthy_process_from_a_sick_and_an_absent_one() -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Health(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(self.status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Health)
    Thread(target=server.serve_forever, daemon=True).start()

    def check() -> int:
        environment = {"HEALTHCHECK_PORT": str(server.server_address[1])}
        script = DEPLOY / "docker" / "healthcheck.py"
        return subprocess.run(["python3", script], env=environment, check=False, stderr=subprocess.DEVNULL).returncode

    assert check() == 0
    Health.status = 503
    assert check() == 1
    server.shutdown()
    server.server_close()
    assert check() == 1


def test_the_container_is_healthy_with_metrics_over_tls_too(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("detector")
    settings = Settings(metrics_port=0, metrics_cert_file=certificate, metrics_key_file=key)
    server = MetricsServer(settings, CollectorRegistry(), health=lambda: None, readiness=lambda: None)
    server.start()
    environment = {"HEALTHCHECK_PORT": str(server.port), "STREAM_DETECTOR_METRICS_CERT_FILE": str(certificate)}
    script = DEPLOY / "docker" / "healthcheck.py"
    done = subprocess.run(["python3", script], env=environment, check=False, capture_output=True, text=True)
    server.stop()
    assert done.returncode == 0, done.stderr


def test_systemd_never_gives_up() -> None:
    assert [value_of(unit, "StartLimitIntervalSec") for unit in UNITS] == ["0"] * len(UNITS)


def test_labels_and_selectors_in_kubernetes_fit_together() -> None:
    labelled = [template["metadata"]["labels"] for template in pods(list(manifests()))]

    def chosen(selector: dict[str, str]) -> int:
        return sum(selector.items() <= labels.items() for labels in labelled)

    for manifest in [*of_kind("StatefulSet"), *of_kind("Deployment"), *of_kind("PodDisruptionBudget")]:
        assert chosen(manifest["spec"]["selector"]["matchLabels"]) == 1
    services = of_kind("Service")
    for service in services:
        assert chosen(service["spec"]["selector"]) == 1
    assert chosen({"app.kubernetes.io/name": "stream-detector"}) == 2
    for monitor in of_kind("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        [watched] = [service for service in services if wanted <= service["metadata"]["labels"].items()]
        ports = {port["name"] for port in watched["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_autoscaling_watches_the_group_and_topic_of_the_detector_and_stops_at_its_partitions() -> None:
    [scaled] = of_kind("ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["metadata"]["consumerGroup"] == Settings.model_fields["group"].default
    assert trigger["metadata"]["topic"] == Settings.model_fields["topic_readings"].default
    [settings] = [
        manifest["data"] for manifest in of_kind("ConfigMap") if manifest["metadata"]["name"] == "stream-detector"
    ]
    assert trigger["metadata"]["bootstrapServersFromEnv"] in settings
    assert scaled["spec"]["maxReplicaCount"] == int(settings["STREAM_DETECTOR_TOPIC_PARTITIONS"])
    assert scaled["spec"]["scaleTargetRef"]["name"] == of_kind("StatefulSet")[0]["metadata"]["name"]


def test_no_container_fills_the_disk_with_its_log_or_takes_all_memory() -> None:
    assert [name for name, service in SERVICES.items() if "max-size" not in service["logging"]["options"]] == []
    assert [name for name, service in SERVICES.items() if "mem_limit" not in service] == []


def test_an_orderly_end_fits_into_the_time_that_supervisors_leave() -> None:
    longest = Settings.model_fields["shutdown_seconds"].default
    for name in OURS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > longest
    for manifest in [*of_kind("StatefulSet"), *of_kind("Deployment")]:
        assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > longest
    for unit in UNITS:
        assert int(value_of(unit, "TimeoutStopSec")) > longest


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_restarts_what_failed_but_not_what_is_set_wrongly(unit: Path) -> None:
    assert value_of(unit, "Restart") == "always"
    assert value_of(unit, "RestartPreventExitStatus") == "2"
    assert value_of(unit, "NoNewPrivileges") == "yes"
    assert value_of(unit, "ProtectSystem") == "strict"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_itself_accepts_a_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on PATH")
    # The program is not installed where the unit expects it; any that exists will do for the check.
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_kustomize_builds_each_overlay_in_one_namespace(overlay: Path) -> None:
    documents = built(overlay)
    assert all(one["metadata"].get("namespace") == "stream-detector" for one in documents if one["kind"] != "Namespace")
    assert len(pods(documents)) == 2


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_every_container_of_every_overlay_keeps_the_policies(overlay: Path) -> None:
    for template in pods(built(overlay)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["fsGroup"] == 10001, "it reads secrets of its group"
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            # A limit of CPU would slow an alarm down while the machine has time to spare.
            assert "cpu" not in container["resources"]["limits"]
            assert not container["image"].endswith(":latest")
            assert ":" in container["image"], "an image has a tag"
        for container in pod["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
            named = {volume["name"] for volume in pod["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} <= named
            writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly", False)}
            assert writable == {"scratch"}


@pytest.mark.parametrize("name", ["secured", "full"])
def test_a_secured_overlay_logs_in_from_files_of_a_secret_and_serves_https(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = built(KUBERNETES / "overlays" / name)
    maps = [one["data"] for one in documents if one["kind"] == "ConfigMap"]
    assert len(maps) == 2
    for data in maps:
        assert data["STREAM_DETECTOR_SECURITY_PROTOCOL"] == "SASL_SSL"
        monkeypatch.setenv("STREAM_DETECTOR_SASL_USERNAME", "u")
        settings, _ = settings_of(data, monkeypatch)
        files = [
            settings.sasl_password_file,
            settings.ssl_ca_file,
            settings.metrics_cert_file,
            settings.metrics_key_file,
        ]
        for template in pods(documents):
            [container] = template["spec"]["containers"]
            folders = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {str(file.parent) for file in files if file is not None} <= folders
            probes = [container[probe] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
            assert [probe["httpGet"]["scheme"] for probe in probes] == ["HTTPS"] * 3
    for monitor in (one for one in documents if one["kind"] == "ServiceMonitor"):
        assert monitor["spec"]["endpoints"][0]["scheme"] == "https"


def test_keda_and_the_manifests_do_not_fight_over_the_replicas() -> None:
    documents = built(KUBERNETES / "overlays" / "full")
    [detector] = [one for one in documents if one["kind"] == "StatefulSet"]
    assert "replicas" not in detector["spec"]
    [scaled] = [one for one in documents if one["kind"] == "ScaledObject"]
    [login] = [one for one in documents if one["kind"] == "TriggerAuthentication"]
    assert scaled["spec"]["triggers"][0]["authenticationRef"]["name"] == login["metadata"]["name"]


def test_network_policies_of_the_secured_overlay_choose_every_pod() -> None:
    documents = built(KUBERNETES / "overlays" / "secured")
    policies = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    closed = [policy for policy in policies if set(policy["policyTypes"]) == {"Ingress", "Egress"}]
    for template in pods(documents):
        labels = template["metadata"]["labels"].items()
        assert any(policy["podSelector"]["matchLabels"].items() <= labels for policy in closed)


def test_the_rules_for_the_operator_are_those_of_prometheus() -> None:
    assert rules.RESOURCE.read_text(encoding="utf-8") == rules.resource(), "run `make dashboards`"


def test_docker_compose_accepts_the_file() -> None:
    client = shutil.which("docker")
    if (
        client is None
        or subprocess.run([client, "compose", "version"], capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("no `docker compose` here; `make manifests` checks the file against the Compose specification")
    done = subprocess.run(
        [client, "compose", "--profile", "*", "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_versions_in_the_manifests_are_the_packages_own() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {"worker": f"stream-detector:{version}", "trainer": f"stream-detector-trainer:{version}"}
    assert {(SERVICES[name]["build"]["target"], SERVICES[name]["image"]) for name in OURS} == set(images.items())
    kustomization = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    assert kustomization["images"][0] == {"name": "stream-detector", "newTag": version}
