# The edge, with its models in it. From the root of the repository:
#
#   docker build --file k8s/images/edge.Dockerfile --tag antiphon/edge:0.1.0 .
#
# What is built from is said by version here, and by digest in a release, because a tag may be moved and a digest
# cannot. Ask the registry for it and give both: --build-arg PYTHON_IMAGE=python:3.12.12-slim-bookworm@sha256:<digest>
# All that pip and uv bring is named with its hashes in requirements.txt and edge_client/models/wheels.txt.
ARG PYTHON_IMAGE=docker.io/library/python:3.12.12-slim-bookworm

# -- build -----------------------------------------------------------------------------------------------------------

# checkov:skip=CKV_DOCKER_7: the version is in the argument
FROM ${PYTHON_IMAGE} AS build

ENV ANTIPHON_MODELS=/opt/antiphon/models \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1
WORKDIR /opt/antiphon

# pip brings uv, in the version and with the hashes of requirements.txt; uv does the rest.
COPY requirements.txt build/
RUN sed -n '/^uv==/,/[^\\]$/p' build/requirements.txt > build/uv.txt \
    && python -m pip install --no-cache-dir --require-hashes --no-deps --target build/uv --requirement build/uv.txt \
    && python -m venv --without-pip venv \
    && build/uv/bin/uv pip sync --python venv --require-hashes --no-build --compile-bytecode build/requirements.txt

COPY pyproject.toml README.md LICENSE build/
COPY routing build/routing
COPY edge_client build/edge_client
COPY deployments build/deployments
RUN build/uv/bin/uv pip install --python venv --no-deps --offline --compile-bytecode build/

# Their hashes are remembered beside their times, in whole seconds, which is what layers keep: no start hashes anew.
RUN venv/bin/antiphon models pull \
    && find models -type f -exec touch --date=@0 {} + \
    && venv/bin/antiphon models verify

# What fetches and unpacks has done its work.
RUN build/uv/bin/uv pip uninstall --python venv uv

# -- what runs -------------------------------------------------------------------------------------------------------

FROM ${PYTHON_IMAGE} AS edge

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="antiphon-edge" \
      org.opencontainers.image.description="Antiphon's edge: hears, decides and answers calls over WebRTC and WebSocket." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# xllamacpp computes with it, and the base has it not.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1=12.2.* \
    && rm -rf /var/lib/apt/lists/* \
    && python -m pip uninstall --yes --root-user-action=ignore pip

# Root owns it all, and so whoever runs can change none of it.
COPY --from=build /opt/antiphon/venv /opt/antiphon/venv
COPY --from=build /opt/antiphon/models /opt/antiphon/models

ENV ANTIPHON_LOG_FORMAT=json \
    ANTIPHON_MODELS=/opt/antiphon/models \
    PATH=/opt/antiphon/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080/tcp
STOPSIGNAL SIGTERM

# Kubernetes asks /healthz and /readyz itself.
HEALTHCHECK NONE
ENTRYPOINT ["antiphon"]
CMD ["edge"]
