"""wandb server on 127.0.0.1 that stores what runs, `wandb sweep` and `wandb agent` send.

Requests are those of wandb 0.31. Others are answered with an error, as by a server of an earlier
version.
"""

import gzip
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import yaml

ENTITY = "tester"


@dataclass
class StoredRun:
    """What a run has sent."""

    project: str
    sweep: str | None
    config: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)  # of streamed files, by name
    exit_code: int | None = None
    is_preempting: bool = False  # whether it was marked so since its last start

    @property
    def history(self):
        """Rows of the history."""
        return [json.loads(line) for line in self.lines.get("wandb-history.jsonl", [])]

    @property
    def summary(self):
        """Values of the summary."""
        return json.loads(self.lines["wandb-summary.json"][-1])


class WandbServer(ThreadingHTTPServer):
    """Server whose sweeps have one run, with the first value of each parameter.

    Agents receive this run, and again whenever it was preempted.

    Attributes:
        runs: runs by id.
        sweeps: contents of sweep files by id, with the project in which they were registered.
        artifacts: inputs of `createArtifact`.
        uploads: contents of uploaded files by path: RUN/FILE and RUN-artifact/FILE.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, StoredRun] = {}
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}

    @property
    def url(self):
        """Address of the server."""
        return f"http://127.0.0.1:{self.server_port}"

    def query(self, text, variables):
        """Answer a GraphQL request."""
        (operation,) = re.findall(r"^\s*(?:query|mutation) (\w+)", text)
        if operation not in _ANSWERS:
            return {"errors": [{"message": f"unknown operation {operation}"}]}
        return {"data": _ANSWERS[operation](self, variables)}

    def stream(self, run_id, content):
        """Store lines of the history, the summary and the console output of a run."""
        run = self.runs[run_id]
        run.is_preempting |= content.get("preempting", False)
        for name, part in content.get("files", {}).items():
            run.lines.setdefault(name, [])[part["offset"] :] = part["content"]
        if content.get("complete"):
            run.exit_code = content["exitcode"]

    def upload_url(self, path):
        """Return the address to which a client uploads a file."""
        return f"{self.url}/uploads/{path}"


def _viewer(server, variables):
    return {"viewer": {"id": "1", "entity": ENTITY, "username": ENTITY, "flags": "{}"}}


def _project(name):
    return {"id": name, "name": name, "entity": {"id": ENTITY, "name": ENTITY}}


def _upsert_sweep(server, variables):
    name = f"sweep{len(server.sweeps)}"
    content = yaml.safe_load(variables["config"])
    server.sweeps[name] = content | {"project": variables["projectName"]}
    return {"upsertSweep": {"sweep": {"name": name, "project": _project(variables["projectName"])}}}


def _sweep(server, variables):
    name = variables["sweep"]
    found = {"id": name, "config": json.dumps(server.sweeps[name]), "runs": {"edges": []}}
    return {"project": {"sweep": found}}


def _create_agent(server, variables):
    return {"createAgent": {"agent": {"id": variables["sweep"]}}}


def _heartbeat(server, variables):
    sweep = variables["id"]
    run_id, commands = f"run-of-{sweep}", []
    run = server.runs.get(run_id)
    is_done = run and not (run.is_preempting and run.exit_code)
    if not is_done and not json.loads(variables["runState"]):
        content = server.sweeps[sweep]
        first = {n: c.get("values", [c.get("value")])[0] for n, c in content["parameters"].items()}
        arguments = {name: {"value": value} for name, value in first.items()}
        kind = "resume" if run else "run"
        if run:
            run.is_preempting = False
        commands = [
            {"type": kind, "run_id": run_id, "program": content["program"], "args": arguments}
        ]
    return {"agentHeartbeat": {"agent": {"id": sweep}, "commands": json.dumps(commands)}}


def _resume_status(server, variables):
    run = server.runs.get(variables["name"])
    if not run:
        return {"model": None}
    lines = {name: run.lines.get(f"wandb-{name}.jsonl", []) for name in ("history", "events")}
    bucket = {"id": variables["name"], "name": variables["name"], "config": json.dumps(run.config)}
    bucket |= {"summaryMetrics": json.dumps(run.summary), "wandbConfig": "{}", "tags": []}
    bucket |= {f"{name}LineCount": len(content) for name, content in lines.items()}
    bucket |= {f"{name}Tail": json.dumps(content[-1:]) for name, content in lines.items()}
    bucket |= {"logLineCount": len(run.lines.get("output.log", []))}
    return {"model": _project(run.project) | {"bucket": bucket}}


def _upsert_run(server, variables):
    name, project = variables["name"], variables["project"]
    is_new = name not in server.runs
    run = server.runs.setdefault(name, StoredRun(project, variables["sweep"]))
    run.config |= json.loads(variables["config"] or "{}")
    bucket = {"id": name, "name": name, "displayName": name, "sweepName": run.sweep}
    bucket |= {"project": _project(project), "historyLineCount": len(run.history)}
    return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}


def _create_run_files(server, variables):
    run_id = variables["run"]
    files = [
        {"name": name, "uploadUrl": server.upload_url(f"{run_id}/{name}")}
        for name in variables["files"]
    ]
    return {"createRunFiles": {"runID": run_id, "uploadHeaders": [], "files": files}}


def _create_artifact(server, variables):
    server.artifacts.append(variables["input"])
    collection = {"latestArtifact": None}
    artifact_id = f"{variables['input']['runName']}-artifact"
    artifact = {"id": artifact_id, "state": "PENDING", "artifactSequence": collection}
    return {"createArtifact": {"artifact": artifact}}


def _create_manifest(server, variables):
    url = server.upload_url(f"{variables['artifactID']}/{variables['name']}")
    manifest = {"id": "manifest", "file": {"id": "file", "uploadUrl": url, "uploadHeaders": []}}
    return {"createArtifactManifest": {"artifactManifest": manifest}}


def _create_artifact_files(server, variables):
    edges = []
    for file in variables["input"]["artifactFiles"]:
        path = f"{file['artifactID']}/{file['name']}"
        node = {"storagePath": path, "uploadUrl": server.upload_url(path), "uploadHeaders": []}
        edges.append({"node": node | {"artifact": {"id": file["artifactID"]}}})
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit_artifact(server, variables):
    digest = server.artifacts[-1]["digest"]
    return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": digest}}}


_ANSWERS = {
    "Viewer": _viewer,
    "UpsertSweep": _upsert_sweep,
    "SweepWithRuns": _sweep,
    "CreateAgent": _create_agent,
    "Heartbeat": _heartbeat,
    "RunResumeStatus": _resume_status,
    "UpsertBucket": _upsert_run,
    "CreateRunFiles": _create_run_files,
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _create_manifest,
    "CreateArtifactFiles": _create_artifact_files,
    "CommitArtifact": _commit_artifact,
}


class _Handler(BaseHTTPRequestHandler):
    """Handler of GraphQL requests, file streams and uploads; telemetry is ignored."""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = {}
        if self.path == "/graphql":
            request = json.loads(body)
            answer = self.server.query(request["query"], request.get("variables"))
        elif self.path.endswith("/file_stream"):
            self.server.stream(self.path.split("/")[-2], json.loads(body))
        elif self.command == "PUT":
            self.server.uploads[self.path.removeprefix("/uploads/")] = body
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_GET = do_POST = do_PUT = answer  # noqa: N815 -- names of http.server

    def log_message(self, *arguments):
        pass


@contextmanager
def run_wandb_server():
    """Run a server in a thread."""
    with WandbServer() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
