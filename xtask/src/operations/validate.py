"""Judges the YAML files of examples/operations by schema, for `cargo xtask operations`.

Usage: validate.py FOLDER KUBERNETES_VERSION COMPOSE_SCHEMA_PACKAGE

Prints one JSON object: `problems`, a list of sentences, and `files`, every document of every file for further checks.
Exits 0 whatever it finds, so that another exit code always means that it could not work.
"""

import json
import pathlib
import sys
import tarfile

import jsonschema
import kubernetes_validate
import yaml

SCHEMA = "package/src/compose-spec/schema/compose-spec.json"
COMPOSE = "compose.yaml"
# kubectl reads it, the cluster never sees it, and there is no schema for it.
KUSTOMIZATION = "kustomization.yaml"


class Loader(yaml.SafeLoader):
    """Refuses a key that is given twice: PyYAML would take the last one."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                name = self.construct_object(key, deep=True)
                if name in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"`{name}` is given twice", key.start_mark)
                seen.add(name)
        return super().construct_mapping(node, deep)


def place(error):
    return "/".join(str(part) for part in error.absolute_path) or "the document"


def compose(document, package):
    with tarfile.open(package) as archive:
        schema = json.load(archive.extractfile(SCHEMA))
    # The schema names a draft by an address that no validator knows.
    validator = jsonschema.Draft201909Validator(schema)
    return [f"{place(error)}: {error.message}" for error in validator.iter_errors(document)]


def kubernetes(document, version):
    if not isinstance(document, dict) or "kind" not in document or "apiVersion" not in document:
        return ["a document has no kind or apiVersion"]
    kind = document["kind"]
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except jsonschema.ValidationError as error:
        return [f"{kind}: {place(error)}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{kind}: {error.message}"]
    return []


def main(folder, version, package):
    folder = pathlib.Path(folder)
    problems, files = [], {}
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        try:
            documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader))
        except yaml.YAMLError as error:
            problems.append(f"{name}: {' '.join(str(error).split())}")
            continue
        files[name] = documents
        for document in documents:
            if name == KUSTOMIZATION:
                found = []
            elif name == COMPOSE:
                found = compose(document, package)
            else:
                found = kubernetes(document, version)
            problems.extend(f"{name}: {problem}" for problem in found)
    json.dump({"problems": problems, "files": files}, sys.stdout)


main(*sys.argv[1:])
