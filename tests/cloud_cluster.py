"""A cloud tier on several raylets of this machine, as a program that obeys: one command per line, one answer each.

▶ {"do": "add_node"}              a raylet more, where a replica may go
▶ {"do": "kill_node"}             the last one that was added dies, without a farewell
▶ {"do": "deploy", "args": {…}}   the application, with other arguments: in place where only the number differs
◀ {"ok": true}                    or {"error": "…"}
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from typing import Any

from deployments.offspring import Offspring
from deployments.transport import environment, proxy_folder

MEMORY_BYTES = 100_000_000  # of each raylet's object store, which nothing here uses


def main(port: int) -> None:
    offspring = Offspring()
    os.environ |= {
        **environment("haproxy", port),
        **offspring.mark,
    }  # several ingresses may come and go behind one address
    import ray
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": MEMORY_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"resources": {"door": 8}})
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        obey(Commander(cluster, port))
    finally:
        ray.shutdown()
        cluster.shutdown()
        offspring.kill()  # Ray leaves its proxy running
        shutil.rmtree(proxy_folder(port), ignore_errors=True)


class Commander:
    """Carries the commands out."""

    def __init__(self, cluster: Any, port: int) -> None:
        from ray import serve

        self._cluster = cluster
        self._nodes: list[Any] = []
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})

    def add_node(self) -> None:
        """A raylet more."""
        node = self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY_BYTES, resources={"replica": 1})
        self._nodes.append(node)

    def kill_node(self) -> None:
        """The raylet that was added last, and all that runs there."""
        self._cluster.remove_node(self._nodes.pop(), allow_graceful=False)

    def deploy(self, args: dict[str, Any], replicas: int, *, on_nodes: bool = False) -> None:
        """Deploy declaratively: what has not changed stays as it is."""
        from ray.serve._private.api import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        options = {"num_cpus": 0, "resources": {"replica": 1}} if on_nodes else {"num_cpus": 0}
        deployments = [
            {"name": "replica", "num_replicas": replicas, "ray_actor_options": options},
            {"name": "ingress", "ray_actor_options": {"num_cpus": 0, "resources": {"door": 1}}},
        ]
        application = {"name": "antiphon", "import_path": "deployments.app:app", "args": args}
        schema = ServeDeploySchema.model_validate({"applications": [application | {"deployments": deployments}]})
        _get_global_client().deploy_apps(schema, _blocking=True)


def obey(commander: Commander) -> None:
    """Until nobody says anything any more."""
    answer({"ok": True})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            getattr(commander, command.pop("do"))(**command)
        except Exception as error:  # noqa: BLE001 the test that asked shall see it
            answer({"error": f"{type(error).__name__}: {error}"})
        else:
            answer({"ok": True})


def answer(told: dict[str, Any]) -> None:
    assert sys.__stdout__ is not None
    sys.__stdout__.write(json.dumps(told) + "\n")
    sys.__stdout__.flush()


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # Ray writes there, too
        main(int(sys.argv[1]))
