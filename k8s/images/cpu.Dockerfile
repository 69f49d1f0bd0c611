# The CPU image, from the same lock as a laptop's .venv:
#   docker build -f k8s/images/cpu.Dockerfile -t rayzero-cpu .
# Where torch's CPU build is not on pip's default index, add --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.11-bookworm

RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home rayzero && install -d -o rayzero -g rayzero /opt/rayzero
# KubeRay starts Ray from a login shell, which forgets the PATH of ENV.
RUN echo 'export PATH=/opt/rayzero/.venv/bin:$PATH' > /etc/profile.d/rayzero.sh
ENV PATH=/opt/rayzero/.venv/bin:$PATH

USER rayzero
WORKDIR /opt/rayzero
ARG PIP_EXTRA_INDEX_URL
# The libraries first: a change of code alone builds in seconds.
COPY --chown=rayzero requirements/cpu.txt requirements/cpu.txt
RUN python3.11 -m venv .venv && .venv/bin/pip install --no-cache-dir --no-deps -r requirements/cpu.txt
COPY --chown=rayzero . .
RUN make setup EXTRA=cpu && mkdir -p models inputs runs
