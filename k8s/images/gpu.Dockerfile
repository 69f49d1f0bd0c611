# The GPU image, with the versions of requirements/gpu-constraints.txt:
#   docker build -f k8s/images/gpu.Dockerfile -t rayzero-gpu .
# torch brings its own CUDA libraries. A kernel that is compiled at run time (DeepSpeed's fused optimizers, FlashInfer) needs
# nvcc: for those give a base image with the CUDA toolkit and Python 3.11 as --build-arg BASE=...
ARG BASE=python:3.11-bookworm
FROM ${BASE}

RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home rayzero && install -d -o rayzero -g rayzero /opt/rayzero
# KubeRay starts Ray from a login shell, which forgets the PATH of ENV.
RUN echo 'export PATH=/opt/rayzero/.venv/bin:$PATH' > /etc/profile.d/rayzero.sh
ENV PATH=/opt/rayzero/.venv/bin:$PATH

USER rayzero
WORKDIR /opt/rayzero
ARG PIP_EXTRA_INDEX_URL
# vLLM and torch first: a change of code alone builds in seconds.
COPY --chown=rayzero requirements/gpu-constraints.txt requirements/gpu-constraints.txt
RUN python3.11 -m venv .venv && .venv/bin/pip install --no-cache-dir -c requirements/gpu-constraints.txt torch vllm
COPY --chown=rayzero . .
RUN make setup EXTRA=gpu && mkdir -p models inputs runs
