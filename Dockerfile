# lowzoo in a container, on a CPU by default; for a GPU give an image with CUDA's runtime and Python 3.11 or newer:
#   docker build -t lowzoo .
#   docker build -t lowzoo --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 .
#   docker run --rm -v "$PWD/photos:/photos" -v "$PWD/runs:/home/lowzoo/runs" lowzoo train rob --data /photos
ARG BASE=python:3.11-slim
FROM ${BASE}
RUN if ! command -v pip >/dev/null; then \
      apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*; \
    fi \
    && python3 -m venv /opt/lowzoo
ENV PATH=/opt/lowzoo/bin:$PATH
COPY . /src
RUN pip install --no-cache-dir "/src[train,eval]" && rm -rf /src
WORKDIR /home/lowzoo
ENTRYPOINT ["lowzoo"]
CMD ["--help"]
