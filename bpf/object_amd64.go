// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import _ "embed"

//go:embed copenclose.bpf.amd64.o.gz
var compressed []byte

//go:embed descriptors.bpf.amd64.o.gz
var compressedDescriptors []byte
