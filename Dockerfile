# The steps of the README's first command in an image: environment, CPU torch, Tactful, the model exported.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 HF_HUB_OFFLINE=1
WORKDIR /src
RUN python3 -m venv /opt/tactful \
 && /opt/tactful/bin/pip install -q -U pip \
 && /opt/tactful/bin/pip install -q torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY privacy privacy
COPY contexts contexts
COPY engine engine
RUN /opt/tactful/bin/pip install -q .
# From another folder, so that what was installed is what runs.
WORKDIR /srv/tactful
RUN /opt/tactful/bin/python -c "from pathlib import Path; from contexts.encoders import open_encoder; open_encoder(Path('data/models'))" \
 && mkdir keys

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /srv/tactful --shell /usr/sbin/nologin tactful
COPY --from=build /opt/tactful /opt/tactful
COPY --from=build --chown=tactful:tactful /srv/tactful /srv/tactful
ENV PATH=/opt/tactful/bin:$PATH \
    HF_HUB_OFFLINE=1 \
    TACTFUL_DATA_DIR=/srv/tactful/data \
    TACTFUL_KEY_DIR=/srv/tactful/keys \
    TACTFUL_HOST=0.0.0.0 \
    TACTFUL_PORT=8080
WORKDIR /srv/tactful
USER tactful
# Mount keys apart from data: a copy of one must not hold the other. A new named volume begins with the model.
VOLUME ["/srv/tactful/data", "/srv/tactful/keys"]
EXPOSE 8080
HEALTHCHECK --start-period=60s --interval=10s --timeout=3s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["tactful"]
CMD ["serve"]
