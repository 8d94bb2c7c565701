# A Redis server for the node of the tests: Debian's.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
RUN apt-get update -qq && apt-get install --yes -qq --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
USER 999:999
