"""Checks documents against Kubernetes' own schemas, with the package ``kubernetes-validate``: a program of its own.

It runs in the environment of `make audit`: a list of documents in JSON comes in, and what is wrong with each goes out.
As an argument it takes the version of Kubernetes.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import kubernetes_validate
from kubernetes_validate import utils


def main(version: str) -> None:
    utils.schema_contents = functools.cache(utils.schema_contents)  # of megabytes, read for each document otherwise
    json.dump([fault(document, version) for document in json.load(sys.stdin)], sys.stdout)


def fault(document: dict[str, Any], version: str) -> str | None:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return str(error.message)
    return None


if __name__ == "__main__":
    main(sys.argv[1])
