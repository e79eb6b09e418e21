# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# The static binary alone. What changes seldom stands first, so that a change
# of the source compiles only our own code again.
FROM golang:1.26-bookworm AS build
WORKDIR /src

COPY Makefile ./
COPY packaging/apt-suite packaging/install-missing packaging/cross.mk packaging/
COPY libbpf libbpf
COPY packaging/inventory/inventory.mk packaging/inventory/
COPY vmlinux/vmlinux.mk vmlinux/
COPY bpf/bpf.mk bpf/
COPY test/test.mk test/
RUN make deps
RUN make build/libbpf/lib/libbpf.a

ARG GOPROXY
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION
ARG COMMIT
RUN make static ${VERSION:+VERSION="$VERSION"} ${COMMIT:+COMMIT="$COMMIT"}

FROM scratch
ARG VERSION
ARG COMMIT
LABEL org.opencontainers.image.title="copenclose" \
      org.opencontainers.image.description="shows which container opens, accepts, connects and closes" \
      org.opencontainers.image.source="https://github.com/copenclose/copenclose" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /src/bin/static/copenclose /copenclose
ENTRYPOINT ["/copenclose"]
