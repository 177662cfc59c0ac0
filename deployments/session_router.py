"""Which replica a turn goes to: the one that remembers its session, unless it is to be avoided."""

from __future__ import annotations

from ray.serve._private.request_router.common import PendingRequest
from ray.serve._private.request_router.replica_wrapper import RunningReplica
from ray.serve.exceptions import RayServeException
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter


class SessionRouter(ConsistentHashRouter):
    """Consistent hashing over the session, which a call may overrule with its arguments.

    ``at`` names the only replica that will do: what belongs to a turn goes where the turn is. ``avoid`` names those
    that have failed the turn already, or are full.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """See `ray.serve.request_router.RequestRouter`: candidates, from the best rank to the last."""
        ranks: list[list[RunningReplica]] = await super().choose_replicas(candidate_replicas, pending_request)
        if pending_request is None:
            return ranks
        if at := pending_request.kwargs.get("at"):
            there = [replica for replica in candidate_replicas if replica.replica_id.unique_id == at]
            return [there] if there else self._given_up(pending_request, ranks)
        avoided = pending_request.kwargs.get("avoid", ())
        allowed = [[replica] for (replica,) in ranks if replica.replica_id.unique_id not in avoided]
        return allowed or ranks

    @staticmethod
    def _given_up(request: PendingRequest, ranks: list[list[RunningReplica]]) -> list[list[RunningReplica]]:
        """What is meant for a replica that is gone fails at once.

        Without any candidate Ray would look for one for ever, even where nobody waits for it any more, in one of the
        few tasks that look for all: soon no turn would find a place. Given some, it sees that the request is over.
        """
        if not request.future.done():
            request.future.set_exception(RayServeException("the replica is gone"))
        return ranks
