# repro in a container (docs/containers.md):
#   docker build --target cpu -t repro:cpu .
#   docker build --target cuda -t repro:cuda .
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS base
# OpenCV is linked to both libraries; git writes the commit into the provenance of runs.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 git && rm -rf /var/lib/apt/lists/*
ENV OMP_WAIT_POLICY=PASSIVE PIP_NO_CACHE_DIR=1 PATH=/opt/venv/bin:$PATH
RUN python -m venv /opt/venv
WORKDIR /opt/repro
COPY . .

FROM base AS cpu
# An index with CPU builds of torch (pytorch.org names it) saves 2.6 GB: --build-arg TORCH_INDEX=ADDRESS
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} '.[train]' -c constraints.txt
RUN repro doctor
WORKDIR /work
ENTRYPOINT ["repro"]
CMD ["run", "table1", "--profile", "smoke", "--methods", "clip"]

FROM base AS cuda
# On Linux, torch's wheel on the default index is a CUDA build; the driver comes from the host (--gpus all).
RUN pip install '.[train]' -c constraints.txt
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
ENTRYPOINT ["repro"]
CMD ["doctor"]
