# Two stages: the first makes the virtual environment; the second contains only Python and this environment.
# TORCH_INDEX: the index for torch's CPU build, used if the configured sources lack it; empty: no such index.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m venv /opt/pawtag
ENV PATH=/opt/pawtag/bin:$PATH
WORKDIR /src

COPY constraints.txt ./
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    torch=$(sed -n 's/^torch==//p' constraints.txt) \
    && { pip install --quiet "torch==$torch+cpu" 2>/dev/null \
         || pip install --quiet ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "torch==$torch+cpu"; }

# The other libraries, in a layer of their own: a change of pawtag's code installs none of them again.
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip \
    mkdir -p daemon/pawtag && echo '__version__ = "0"' >daemon/pawtag/__init__.py \
    && touch README.md LICENSE NOTICE \
    && pip install --quiet --constraint constraints.txt . && pip uninstall --quiet --yes pawtag

# What only builds or tests torch is not needed to run it.
RUN packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && rm -rf "$packages"/torch/test "$packages"/torch/include "$packages"/torch/bin/test_* "$packages"/torch/bin/protoc*

COPY README.md LICENSE NOTICE ./
COPY daemon daemon
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --no-deps . && pip uninstall --quiet --yes setuptools pip


FROM python:${PYTHON}-slim
# Any user may run the image. It keeps its data in /cache; photos and sidecars are in /photos.
RUN useradd --uid 1000 --no-create-home --home-dir /cache pawtag \
    && install --directory --owner=1000 --group=1000 --mode=1777 /cache /photos
COPY --from=build /opt/pawtag /opt/pawtag
ENV PATH=/opt/pawtag/bin:$PATH HOME=/cache PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PAWTAG_FOLDER__PATH=/photos PAWTAG_SERVER__HOST=0.0.0.0
WORKDIR /cache
USER 1000:1000
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/readyz' % os.environ.get('PAWTAG_SERVER__PORT', 7860), timeout=4)"]
ENTRYPOINT ["pawtag"]
CMD ["run"]
