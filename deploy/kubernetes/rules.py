"""Writes the rules of Prometheus as a resource of its operator: `python -m deploy.kubernetes.rules`."""

from pathlib import Path

import yaml

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus" / "rules"
RESOURCE = HERE / "components" / "monitoring" / "rules.yaml"


def resource() -> str:
    """The text of the resource."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    content = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "stream-detector", "labels": {"app.kubernetes.io/name": "stream-detector"}},
        "spec": {"groups": groups},
    }
    return "# Written by `make dashboards` from deploy/prometheus/rules.\n" + yaml.safe_dump(
        content, sort_keys=False, width=120, allow_unicode=True
    )


if __name__ == "__main__":
    RESOURCE.write_text(resource(), encoding="utf-8")
