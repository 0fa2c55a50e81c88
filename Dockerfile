# The worker, the API and all other commands: docker build -t intentloop . && docker run intentloop --help
FROM python:3.12.11-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY schemas schemas
COPY producer producer
COPY stream_app stream_app
COPY sink sink
COPY admin admin
COPY training training
COPY cli cli
COPY devstack devstack
COPY demo demo
# The lock covers development too, so it serves as constraints: only what worker and API need is
# installed, in the locked version, and uv refuses a file whose hash is not in the lock.
RUN uv build --wheel --out-dir /dist \
 && uv venv --python /usr/local/bin/python --no-python-downloads /opt/intentloop \
 && uv pip install --python /opt/intentloop --no-cache --verify-hashes --compile-bytecode \
      --constraint requirements.lock "$(echo /dist/intentloop-*.whl)[worker,admin,training]"

FROM python:3.12.11-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /var/lib/intentloop --shell /usr/sbin/nologin intentloop
COPY --from=build /opt/intentloop /opt/intentloop
ENV PATH=/opt/intentloop/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/intentloop
USER intentloop
# What waits in files while the database is away must outlive the container: mount a volume here.
RUN mkdir var
VOLUME /var/lib/intentloop/var
# SIGTERM: the worker stores what is open, acknowledges it and leaves within 10 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["intentloop"]
CMD ["worker"]
