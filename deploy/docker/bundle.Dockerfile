# A bundle as an image, which the init container of deploy/kubernetes unpacks. The context is the bundle's own folder:
#   docker build -f deploy/docker/bundle.Dockerfile -t REGISTRY/stream-detector-bundle:TAG out/bundle
# BASE may be any image that has `cp`.
ARG BASE=busybox:1.37
FROM ${BASE}
COPY --chown=0:0 . /bundle
USER 10001:10001
