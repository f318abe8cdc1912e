"""What operators rely on: each message is in the runbook, each metric in the alerts is real, the manifests are valid."""

import ast
import json
import re
import shutil
import subprocess
from importlib.util import find_spec

import pytest
import yaml

from pawtag.metrics import Metrics
from support.paths import ROOT

LOUD = ("warning", "error", "exception", "_warn_once")
PLACEHOLDER = re.compile(r"%[-.\d]*[sdgf]|\{[^}]*\}")
# Texts that are another message as a whole, which the runbook has under its own words.
WHOLE = {"…", "… Retrying (…).", "…: …"}
METRIC = re.compile(r"\bpawtag_[a-z_]+")


def list_messages() -> set[str]:
    """The texts that the code can log as a warning or worse."""
    found = set()
    for path in (ROOT / "daemon/pawtag").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOUD
            if is_call and isinstance(node.func.value, ast.Name) and node.func.value.id in ("log", "self"):
                found.add(PLACEHOLDER.sub("…", read_text(node.args[0])))
    return found - WHOLE


def read_text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    raise AssertionError(f"a message that is no text: {ast.unparse(node)}")


def test_every_message_is_in_the_runbook():
    """Cause and cure stand in docs/operations.md, also of the next warning that somebody adds."""
    runbook = (ROOT / "docs/operations.md").read_text()
    messages = list_messages()
    assert len(messages) > 30
    assert sorted(text for text in messages if f"`{text}`" not in runbook) == []


def list_metrics() -> set[str]:
    """The names that a scrape has, without those of a histogram's parts."""
    lines = Metrics().render().decode().splitlines()
    return {line.split()[2] for line in lines if line.startswith("# TYPE")}


def test_every_metric_is_in_the_runbook():
    """And no other."""
    runbook = (ROOT / "docs/operations.md").read_text()
    assert {name.rstrip("_") for name in METRIC.findall(runbook)} == list_metrics()


def test_the_alerts_use_metrics_that_exist():
    """A slip in a name would be an alert that never comes."""
    document = yaml.safe_load((ROOT / "config/prometheus-alerts.yml").read_text())
    expressions = [rule["expr"] for group in document["groups"] for rule in group["rules"]]
    used = {name.removesuffix("_bucket") for name in METRIC.findall(" ".join(expressions))}
    assert used
    assert used <= list_metrics()


def test_the_dashboard_uses_metrics_that_exist():
    """Each panel of the Grafana dashboard has a query, and they show every metric but those of skips and downloads."""
    document = json.loads((ROOT / "config/grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(" ".join(expressions))}
    assert len(expressions) >= len(document["panels"])
    assert list_metrics() - used == {"pawtag_photos_skipped_total", "pawtag_download_bytes"}
    assert used <= list_metrics()


def test_the_queries_of_the_dashboard_are_accepted_by_promtool(tmp_path):
    """As rules, for promtool checks no dashboards; Grafana's variable stands for any instance."""
    document = json.loads((ROOT / "config/grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    rules = [{"record": f"pawtag:panel:{number}", "expr": each} for number, each in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    check_rules(tmp_path / "rules.yml")


def test_the_alerts_are_accepted_by_promtool():
    """Prometheus' own check, where it is installed (scripts/promtool.sh)."""
    check_rules(ROOT / "config/prometheus-alerts.yml")


def check_rules(path):
    promtool = shutil.which("promtool") or next((ROOT / ".venv/prometheus").rglob("bin/promtool"), None)
    if promtool is None:
        pytest.skip("no promtool here: scripts/promtool.sh fetches it")
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kubernetes_manifests_are_valid():
    """Against the schemas of Kubernetes; KEDA's own kind is not among them."""
    if find_spec("kubernetes_validate") is None:
        pytest.skip("no kubernetes-validate here: ./scripts/install.sh check installs it")
    import kubernetes_validate

    documents = list(yaml.safe_load_all((ROOT / "config/kubernetes.yaml").read_text()))
    own = [document for document in documents if "keda" not in document["apiVersion"]]
    for document in own:
        kubernetes_validate.validate(document, "1.30", strict=True)
    assert [document["kind"] for document in own] == ["Deployment", "Service"]
    [container] = own[0]["spec"]["template"]["spec"]["containers"]
    assert {"livenessProbe", "readinessProbe"} <= set(container)
    settings = [each["name"] for each in container["env"]]
    known = (ROOT / "config/pawtag.toml").read_text()
    for name in settings:
        assert re.search(rf"^(# )?{name.rpartition('__')[2].lower()} = ", known, re.MULTILINE), name
