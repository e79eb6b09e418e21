# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# `make image`: the context has the static binary and its licences.
FROM scratch
COPY . /
ENTRYPOINT ["/copenclose"]
