"""CI pipelines and schemas that people copy: checked by the linters that they will meet, and held against the tool itself."""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tradeops.base.config import load_yaml
from tradeops.base.errors import ConfigError, UsageError
from tradeops.cli.app import command_line
from tradeops.cli.docs import docs
from tradeops.deploy.playbook import load_playbook
from tradeops.fleet.fleetfile import FleetFile

ROOT = Path(__file__).parents[2]
GITHUB = (".github/workflows/ci.yml", "playbooks/ci/github.yml")
GITLAB = (".gitlab-ci.yml", "playbooks/ci/gitlab.yml")
STAGES = ("lint", "unit", "integration", "coverage", "build", "staging", "smoke", "approval", "canary", "full")
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
EXAMPLE = ROOT / "tradeops" / "fleet" / "example.yml"


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    """check-jsonschema as CI would call it."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Page -> file with the schema that the tool prints for it."""
    folder = tmp_path_factory.mktemp("schemas")
    for page in ("fleet", "playbook"):
        printed = subprocess.run(
            [sys.executable, "-m", "tradeops", "docs", page, "--schema"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        (folder / page).write_text(printed.stdout)
    return {page: str(folder / page) for page in ("fleet", "playbook")}


def test_pipelines_pass_the_linters_of_their_systems() -> None:
    """Ours and those for users, against the schemas of GitHub and GitLab."""
    for done in (
        lint("--builtin-schema", "vendor.github-workflows", *GITHUB),
        lint("--builtin-schema", "custom.github-workflows-require-timeout", *GITHUB),
        lint("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", *GITLAB),
    ):
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", ["playbooks/ci/github.yml", "playbooks/ci/gitlab.yml"])
def test_a_pipeline_has_every_stage_and_builds_once(path: str) -> None:
    """D16: lint to full; one job builds, and what goes on from there is named by its digest."""
    text = (ROOT / path).read_text()
    jobs: dict[str, Any] = yaml.safe_load(text)
    jobs = jobs.get("jobs", jobs)
    assert set(STAGES) <= jobs.keys()
    assert len(re.findall(r"^ *(?:- (?:run: )?)?tradeops .* build ", text, re.MULTILINE)) == 1
    assert 'releases import release.tar --digest "$RELEASE"' in text
    assert 'deploy "$RELEASE" --playbook canary --plan "$PLAN"' in text


def commands(path: str) -> list[list[str]]:
    """Every command line of the tool in a pipeline, as words."""
    found = re.findall(r"tradeops ((?:--fleet|docs)[^\n#>)]*)", (ROOT / path).read_text())
    return [shlex.split(line) for line in found]


@pytest.mark.parametrize("path", ["playbooks/ci/github.yml", "playbooks/ci/gitlab.yml"])
def test_pipelines_name_commands_and_options_that_exist(path: str) -> None:
    """What a person copies runs."""
    lines = commands(path)
    assert len(lines) > 5
    for words in lines:
        command: Any = typer.main.get_command(command_line())
        names = [word for word in words if not word.startswith(("-", "$"))]
        names = names[1:] if "--fleet" in words else names
        known = {option for one in command.params for option in one.opts}
        while hasattr(command, "get_command") and names and (inner := command.get_command(None, names[0])) is not None:
            command, names = inner, names[1:]
            known |= {option for one in command.params for option in one.opts}
        assert not hasattr(command, "get_command"), words
        assert {word for word in words if word.startswith("--")} <= known, words


def test_our_own_pipelines_call_what_make_has() -> None:
    """One command here is the command there."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (GITHUB[0], GITLAB[0]):
        called = re.findall(r"(?:run: |script: \[)make ([a-z ]+)", (ROOT / path).read_text())
        assert len(called) == 3
        assert {target for line in called for target in line.split()} <= targets


@pytest.mark.parametrize(("page", "path"), [("playbook", "playbooks/canary.yml"), ("ci-github", GITHUB[1]), ("ci-gitlab", GITLAB[1])])
def test_what_people_copy_is_printed_as_it_is(page: str, path: str) -> None:
    """To the last byte; a page that has no schema says which have one."""
    report = docs(page)
    assert report.raw == (ROOT / path).read_text()
    with pytest.raises(UsageError, match="has no schema"):
        docs("kill", schema=True)


def test_the_schemas_are_sound_and_take_what_is_shipped(schemas: dict[str, str]) -> None:
    """Every playbook, and the fleet file in which every key is shown."""
    assert lint("--check-metaschema", *schemas.values()).returncode == 0
    taken = lint("--schemafile", schemas["playbook"], *map(str, PLAYBOOKS))
    assert taken.returncode == 0, taken.stdout
    taken = lint("--schemafile", schemas["fleet"], str(EXAMPLE))
    assert taken.returncode == 0, taken.stdout


def with_unknown_keys(document: Any) -> list[Any]:
    """A copy of the document for each of its tables, with one key too many in it."""
    made = []

    def visit(here: Any) -> None:
        if isinstance(here, dict):
            here["nobody_knows_this"] = 1
            made.append(copy.deepcopy(document))
            del here["nobody_knows_this"]
            for value in here.values():
                visit(value)
        elif isinstance(here, list):
            for value in here:
                visit(value)

    visit(document)
    return made


@pytest.mark.parametrize(("page", "path"), [("playbook", ROOT / "playbooks" / "canary.yml"), ("fleet", EXAMPLE)])
def test_unknown_keys_are_refused_by_model_and_schema_alike(page: str, path: Path, schemas: dict[str, str], tmp_path: Path) -> None:
    """In every table, one by one: where one takes a key, the other takes it too, and only where keys are the user's own."""
    broken = with_unknown_keys(yaml.load(path.read_text(), Loader=yaml.BaseLoader))  # noqa: S506  # it makes text and nothing else
    files = []
    for number, document in enumerate(broken):
        files.append(tmp_path / f"{number}.yml")
        files[-1].write_text(yaml.safe_dump(document).replace("'true'", "true").replace("'null'", "null"))
    told = json.loads(lint("--schemafile", schemas[page], "--output-format", "json", *map(str, files)).stdout)
    refused = {Path(error["filename"]).name for error in told["errors"] if "nobody_knows_this" in json.dumps(error)}
    load = load_playbook if page == "playbook" else lambda file: load_yaml(file, FleetFile)
    for file in files:
        try:
            load(file)
        except ConfigError as error:
            assert ("nobody_knows_this" in str(error)) == (file.name in refused), file.read_text()
        else:
            assert file.name not in refused
    assert len(refused) > len(files) // 2
