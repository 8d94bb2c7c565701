# syntax=docker/dockerfile:1
# A transformer for KServe: requests have keys, and the predictor gets features. From the checkout's top: `docker build -f docker/kserve.Dockerfile .`
#
# BASE: any image that has Python >= 3.11 with its venv module. PIP_…: as pip reads them from the environment;
# `--volume WHEELS:/wheels --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/wheels` builds without a network.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS dependencies
ARG PIP_NO_INDEX PIP_FIND_LINKS PIP_INDEX_URL PIP_CERT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY requirements/build.txt requirements/kserve.txt requirements/
# pip stays in the environment that builds; what is run has none. Byte code only of what is imported:
# all of it would be 33 MB more, and none of it would make every start slower.
RUN python3 -m venv /build \
    && /build/bin/pip install --quiet --require-hashes -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/featurestore \
    && /build/bin/pip --python /opt/featurestore/bin/python install --quiet --require-hashes --only-binary :all: --no-deps \
       --no-compile -r requirements/kserve.txt \
    && /opt/featurestore/bin/python -c 'import deltalake, duckdb, kserve, polars, pyarrow, pydantic.types, redis, s3fs, sqlglot'

FROM dependencies AS build
COPY pyproject.toml README.md LICENSE ./
COPY featurestore featurestore
COPY transforms transforms
COPY operator/featurestore_operator operator/featurestore_operator
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
    && /build/bin/pip --python /opt/featurestore/bin/python install --quiet --no-deps --no-index \
       --prefix=/own /dist/*.whl

FROM ${BASE}
ARG VERSION=0.1.0 REVISION=unknown
LABEL org.opencontainers.image.title="featurestore-kserve" \
      org.opencontainers.image.description="A transformer for KServe that reads from a Kubernetes-native feature store" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Two layers: what changes often is small.
COPY --from=dependencies /opt/featurestore /opt/featurestore
COPY --from=build /own /opt/featurestore
ENV PATH=/opt/featurestore/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["python", "-m", "featurestore.kserve"]
