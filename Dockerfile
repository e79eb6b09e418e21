# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# The static binary and its licences, built where there is an engine and nothing else;
# `make image` takes one that make has built. What changes seldom stands first, so that
# a change of the source compiles only our own code again.
FROM golang:1.26-bookworm AS build
WORKDIR /src

COPY Makefile ./
COPY packaging/apt-suite packaging/install-missing packaging/cross.mk packaging/sysroot packaging/
COPY packaging/inventory/inventory.mk packaging/inventory/
COPY libbpf libbpf
COPY vmlinux/vmlinux.mk vmlinux/
COPY bpf/bpf.mk bpf/
COPY test/test.mk test/
RUN make deps
RUN make libbpf

ARG GOPROXY
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION
ARG COMMIT
RUN make image-files ${VERSION:+VERSION="$VERSION"} ${COMMIT:+COMMIT="$COMMIT"}

FROM scratch
ARG VERSION
ARG COMMIT
LABEL org.opencontainers.image.title="copenclose" \
      org.opencontainers.image.description="shows which container opens, accepts, connects and closes" \
      org.opencontainers.image.source="https://github.com/copenclose/copenclose" \
      org.opencontainers.image.licenses="Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /src/build/image/ /
ENTRYPOINT ["/copenclose"]
