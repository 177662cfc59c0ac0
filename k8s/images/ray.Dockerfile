# The cloud tier: Ray with Antiphon in it, for the head and the workers alike. From the root of the repository:
#
#   docker build --file k8s/images/ray.Dockerfile --tag antiphon/ray:0.1.0 .
#   docker build --file k8s/images/ray.Dockerfile --build-arg HARDWARE=gpu --tag antiphon/ray:0.1.0-lfm2 .
#
# On a CPU the device's models answer (configs/serve.local.yaml); they are in the image. On a GPU LFM2-Audio does
# (configs/serve.lfm2-audio.yaml), whose checkpoint is under a license of its own and so is mounted, not baked.
# What is built from is said by version here, and by digest in a release, because a tag may be moved and a digest
# cannot: --build-arg RAY_IMAGE=rayproject/ray:2.60.0-py312-gpu@sha256:<digest>, as the registry tells it.
ARG HARDWARE=cpu
ARG RAY_IMAGE=docker.io/rayproject/ray:2.60.0-py312-${HARDWARE}

# -- pins ------------------------------------------------------------------------------------------------------------

# checkov:skip=CKV_DOCKER_7: the version is in the argument
FROM ${RAY_IMAGE} AS base

USER 0:0
# xllamacpp computes with it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1=12.* \
    && rm -rf /var/lib/apt/lists/*
USER 1000:100

ENV ANTIPHON_MODELS=/home/ray/antiphon/models \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1
WORKDIR /home/ray/antiphon

# pip brings uv, in the version and with the hashes of requirements.txt; uv does the rest. Ray's Python is kept, since
# Ray is started with it; what it has too many does no harm, and what we need gets the version that was tested.
COPY --chown=1000:100 requirements.txt requirements-serve.txt requirements-lfm2.txt ./
RUN sed -n '/^uv==/,/[^\\]$/p' requirements.txt > uv.txt \
    && python -m pip install --no-cache-dir --require-hashes --no-deps --requirement uv.txt

FROM base AS pins-cpu
RUN uv pip install --python "$(command -v python)" --require-hashes --no-build --compile-bytecode \
        --requirement requirements-serve.txt

FROM base AS pins-gpu
RUN uv pip install --python "$(command -v python)" --require-hashes --no-build --compile-bytecode \
        --requirement requirements-serve.txt --requirement requirements-lfm2.txt

# -- what runs -------------------------------------------------------------------------------------------------------

# hadolint ignore=DL3006
FROM pins-${HARDWARE} AS ray

WORKDIR /home/ray/antiphon

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="antiphon-ray" \
      org.opencontainers.image.description="Antiphon's cloud tier: Ray Serve replicas that answer turns." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# In Ray's Python, where every process of Ray finds it: no runtime_env, no PYTHONPATH, nothing fetched at a start.
COPY --chown=1000:100 pyproject.toml README.md LICENSE build/
COPY --chown=1000:100 routing build/routing
COPY --chown=1000:100 edge_client build/edge_client
COPY --chown=1000:100 deployments build/deployments
RUN uv pip install --python "$(command -v python)" --no-deps --offline --compile-bytecode build/ \
    && rm -rf build

# Their hashes are remembered beside their times, in whole seconds, which is what layers keep: no start hashes anew.
RUN antiphon models pull \
    && find models -type f -exec touch --date=@0 {} + \
    && antiphon models verify

# What libraries keep goes where a volume is mounted, beside what Ray keeps there.
ENV ANTIPHON_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    XDG_CACHE_HOME=/tmp
WORKDIR /home/ray
STOPSIGNAL SIGTERM

# KubeRay gives the command, and asks whether Ray is well.
HEALTHCHECK NONE
USER 1000:100
